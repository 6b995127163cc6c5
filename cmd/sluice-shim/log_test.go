package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

type logEntry struct {
	Log    string
	Stream string
	Time   time.Time
}

// logged writes pieces to a stream of a new log and returns its entries.
func logged(t *testing.T, pieces ...string) []logEntry {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	log, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	stream := log.stream("stderr")
	for _, piece := range pieces {
		stream.write([]byte(piece))
	}
	stream.flush()
	log.close()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var entries []logEntry
	for line := range bytes.Lines(raw) {
		var entry logEntry
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if entry.Stream != "stderr" || entry.Time.IsZero() {
			t.Errorf("%q", line)
		}
		entries = append(entries, entry)
	}
	return entries
}

func TestLogLines(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, test := range []struct {
		what   string
		pieces []string
		want   []string
	}{
		{"nothing", nil, nil},
		{"lines of one piece", []string{"a\n\nb\n"}, []string{"a\n", "\n", "b\n"}},
		{"a line of many pieces", []string{"a", "b", "c\nd", "\n"}, []string{"abc\n", "d\n"}},
		{"no end", []string{"a\nb"}, []string{"a\n", "b"}},
		{"a long line", []string{long + "y\nz\n"}, []string{long, "y\n", "z\n"}},
		{"a long line without an end", []string{long[1:], "xy", long}, []string{long, "y" + long[1:], "x"}},
		{"what JSON escapes", []string{"\"\\\t\x00<&>\x7f\u2028é\n"}, []string{"\"\\\t\x00<&>\x7f\u2028é\n"}},
		{"what is no UTF-8", []string{"\xff\n"}, []string{"\ufffd\n"}},
		{"more than is kept for one write", []string{strings.Repeat("\n", 2*maxPending)}, slices.Repeat([]string{"\n"}, 2*maxPending)},
	} {
		var got []string
		for _, entry := range logged(t, test.pieces...) {
			got = append(got, entry.Log)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %d lines %.80q, want %d: %.80q", test.what, len(got), got, len(test.want), test.want)
		}
	}
}

// TestLogWritesOnce sends a piece of short lines to a pipe that keeps writes
// apart.
func TestLogWritesOnce(t *testing.T) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_DIRECT|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends[0])
	log := &logFile{file: os.NewFile(uintptr(ends[1]), "log")}
	defer log.close()
	log.stream("stdout").write([]byte("a\nb\nc\n"))
	buffer := make([]byte, 4096)
	n, err := unix.Read(ends[0], buffer)
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(buffer[:n], []byte("\n")); lines != 3 {
		t.Errorf("the first write has %d lines, want 3: %s", lines, buffer[:n])
	}
}

func BenchmarkLogShortLines(b *testing.B) {
	log, err := openLog(os.DevNull)
	if err != nil {
		b.Fatal(err)
	}
	defer log.close()
	stream := log.stream("stdout")
	piece := bytes.Repeat([]byte("y\n"), 4096)
	b.SetBytes(int64(len(piece)))
	for b.Loop() {
		stream.write(piece)
	}
}
