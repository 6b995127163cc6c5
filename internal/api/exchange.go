package api

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/unixpath"
)

// answer is what a server sends back. Its body reads io.ErrUnexpectedEOF when
// the server ends before it is whole; closing it closes the connection.
type answer struct {
	status int
	reason string
	body   io.Reader
	close  func() error
}

func (a *answer) Read(b []byte) (int, error) { return a.body.Read(b) }
func (a *answer) Close() error               { return a.close() }

// exchange sends one HTTP/1.1 request over a unix socket, and returns the
// answer once its head is there. It is all of HTTP that the API needs:
// net/http would take a third of a short verb's time to start up.
func exchange(ctx context.Context, socket, method, path string, body []byte) (*answer, error) {
	conn, err := dial(ctx, socket)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	a := &answer{close: func() error { stop(); return conn.Close() }}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", method, path, len(body))
	// A server that refuses a body answers before it has read all of it.
	_, writeErr := conn.Write(append([]byte(head), body...))
	if err = a.read(bufio.NewReader(conn)); err != nil {
		err = cmp.Or(writeErr, err)
		_ = a.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return a, nil
}

func dial(ctx context.Context, socket string) (conn net.Conn, err error) {
	err = unixpath.Use(socket, func(path string) (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, "unix", path)
		return err
	})
	return conn, err
}

// read reads the head of an answer and leaves its body to be read.
func (a *answer) read(r *bufio.Reader) error {
	line, err := readLine(r)
	if err != nil {
		return err
	}
	protocol, status, _ := strings.Cut(line, " ")
	status, a.reason, _ = strings.Cut(status, " ")
	if a.status, err = strconv.Atoi(status); err != nil || !strings.HasPrefix(protocol, "HTTP/1.") {
		return fmt.Errorf("not an answer of HTTP/1: %q", line)
	}
	a.body = r
	for {
		line, err := readLine(r)
		if err != nil || line == "" {
			return err
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "Content-Length"):
			length, err := strconv.ParseInt(value, 10, 64)
			if err != nil || length < 0 {
				return fmt.Errorf("not a length of an answer: %q", value)
			}
			a.body = &counted{r: r, left: length}
		case strings.EqualFold(name, "Transfer-Encoding") && strings.EqualFold(value, "chunked"):
			a.body = &chunked{r: r}
		}
	}
}

// readLine returns the next line without its end.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return strings.TrimRight(string(line), "\r\n"), err
}

// counted is a body whose length is known.
type counted struct {
	r    io.Reader
	left int64
}

func (c *counted) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.r.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	if err == io.EOF && c.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// chunked is a body in chunks, each after its length (RFC 9112, 7.1).
type chunked struct {
	r     *bufio.Reader
	chunk counted
	begun bool
	ended bool
}

func (c *chunked) Read(b []byte) (int, error) {
	if c.chunk.left == 0 && !c.ended {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if c.ended {
		return 0, io.EOF
	}
	return c.chunk.Read(b)
}

// next reads the line before a chunk, and the end of the one before it.
func (c *chunked) next() error {
	if c.begun {
		if end, err := readLine(c.r); err != nil || end != "" {
			return orMalformed(err, end)
		}
	}
	line, err := readLine(c.r)
	if err != nil {
		return err
	}
	length, _, _ := strings.Cut(line, ";")
	size, err := strconv.ParseUint(strings.TrimSpace(length), 16, 62)
	if err != nil {
		return orMalformed(nil, line)
	}
	c.begun, c.ended = true, size == 0
	c.chunk = counted{r: c.r, left: int64(size)}
	if c.ended {
		return c.trailers()
	}
	return nil
}

// trailers reads the fields behind the last chunk. One of them may say that the
// server failed in the middle.
func (c *chunked) trailers() (failed error) {
	for {
		line, err := readLine(c.r)
		if err != nil || line == "" {
			return errors.Join(err, failed)
		}
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, ErrorTrailer) {
			failed = apierr.Internal("%s", strings.TrimSpace(value))
		}
	}
}

func orMalformed(err error, line string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("not a chunk of an answer: %q", line)
}
