package api

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// readAnswer reads an answer byte by byte, to its end.
func readAnswer(text string) (a *answer, body string, err error) {
	a = &answer{}
	if err := a.read(bufio.NewReader(iotest.OneByteReader(strings.NewReader(text)))); err != nil {
		return a, "", err
	}
	raw, err := io.ReadAll(a)
	return a, string(raw), err
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text   string
		status int
		body   string
	}{
		{"HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n", 204, ""},
		{"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 200, "{}"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}more", 200, "{}"},
		{"HTTP/1.0 404 Not Found\r\n\r\nuntil the end", 404, "until the end"},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1a;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n", 200, "abcabcdefghijklmnopqrstuvwxyz"},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, ""},
	} {
		a, body, err := readAnswer(test.text)
		if err != nil || a.status != test.status || body != test.body {
			t.Errorf("%q: status %d, body %q, error %v", test.text, a.status, body, err)
		}
	}
}

// TestHalfAnswers cuts whole answers off at every byte.
func TestHalfAnswers(t *testing.T) {
	t.Parallel()
	for _, whole := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n",
	} {
		for end := range len(whole) - 1 {
			if _, _, err := readAnswer(whole[:end]); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%q: error %v", whole[:end], err)
			}
		}
	}
}

func TestMalformedAnswers(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
		"HTTP/1.1 200 OK\r\n" + strings.Repeat("x", 8192) + "\r\n\r\n",
	} {
		if _, _, err := readAnswer(text); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%.80q: error %v", text, err)
		}
	}
}

// TestTrailers covers what may come behind the last chunk.
func TestTrailers(t *testing.T) {
	t.Parallel()
	const chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
	for trailers, want := range map[string]string{
		"":                                 io.ErrUnexpectedEOF.Error(),
		"\r\n":                             "",
		"Expires: never\r\n\r\n":           "",
		"sluice-error: no: room\r\n\r\n":   "no: room",
		"Sluice-Error: no\r\nA: b\r\n\r\n": "no",
	} {
		_, body, err := readAnswer(chunks + trailers)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if body != "abc" || got != want {
			t.Errorf("%q: body %q, error %q, want %q", trailers, body, got, want)
		}
	}
}
