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
		{"a long line cut in a character", []string{long[1:] + "é" + "z\n"}, []string{long[1:], "éz\n"}},
		{"a long line cut in a character of many pieces", []string{long[2:] + "\xf0\x9f", "\x8d\x8e"}, []string{long[2:], "\U0001f34e"}},
		{"a long line of no characters", []string{strings.Repeat("\x80", maxLine+1)}, []string{strings.Repeat("\ufffd", maxLine), "\ufffd"}},
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

// TestLogOnAFullDisk fills a small file system by a log until a write is cut
// off: what is logged when there is room again begins a line of its own. So does
// the log of a next shim, behind one that a crash cut off.
func TestLogOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	ballast, path := filepath.Join(dir, "ballast"), filepath.Join(dir, "log")
	if err := os.WriteFile(ballast, make([]byte, 32<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	stream := log.stream("stderr")
	for range 100 {
		stream.write([]byte(strings.Repeat("x", 1000) + "\n"))
	}
	expectEnd := func(whole bool, want string) {
		t.Helper()
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if ends := bytes.HasSuffix(raw, []byte("\n")); ends != whole {
			t.Fatalf("ends with a whole line: %v, want %v", ends, whole)
		}
		lines := bytes.Split(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n"))
		var entry logEntry
		if err := json.Unmarshal(lines[len(lines)-1], &entry); whole && (err != nil || entry.Log != want) {
			t.Errorf("the last line is %.80q (%v), want %q", lines[len(lines)-1], err, want)
		}
	}
	expectEnd(false, "")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	stream.write([]byte("room\n"))
	expectEnd(true, "room\n")
	log.close()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-9); err != nil {
		t.Fatal(err)
	}
	if log, err = openLog(path); err != nil {
		t.Fatal(err)
	}
	defer log.close()
	log.stream("stderr").write([]byte("again\n"))
	expectEnd(true, "again\n")
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
