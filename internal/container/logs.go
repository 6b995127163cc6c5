package container

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/sluice-net/sluice/internal/apierr"
)

// LogOptions choose from a container's log.
type LogOptions struct {
	Follow     bool
	Timestamps bool
	Tail       int // last lines; negative for all
	// Since and Until bound the entries' times; zero for no bound.
	Since, Until time.Time
}

// logPoll is how often a followed log is looked at.
const logPoll = 50 * time.Millisecond

// Logs writes a container's log: what it sent to standard output to stdout,
// the rest to stderr. A followed log ends with the container. Lines that are
// damaged are left out, and the error in the end says so.
func (m *Manager) Logs(ctx context.Context, ref string, o LogOptions, stdout, stderr io.Writer) error {
	c, err := m.find(ref)
	if err != nil {
		return err
	}
	file, err := os.Open(filesOf(m.Dirs, m.snapshot(c).ID).log())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // never started
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if o.Tail >= 0 {
		if err := seekTail(file, o.Tail); err != nil {
			return err
		}
	}
	out := logPrinter{stdout: stdout, stderr: stderr, options: o}
	reader := bufio.NewReader(file)
	for {
		done := m.doneOf(c) // before reading: what is written before the end is read
		if err := out.copy(reader); err != nil {
			return err
		}
		if !o.Follow || done == nil || !o.Until.IsZero() && time.Now().After(o.Until) {
			return out.end(done == nil)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-done:
		case <-time.After(logPoll):
		}
	}
}

type logPrinter struct {
	stdout, stderr io.Writer
	options        LogOptions
	partial        []byte // of an entry that is still being written
	damaged        int    // lines that are no entries
}

// copy prints all whole entries.
func (p *logPrinter) copy(from *bufio.Reader) error {
	for {
		line, err := from.ReadBytes('\n')
		p.partial = append(p.partial, line...)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if entry, ok := parseEntry(p.partial); !ok {
			p.damaged++
		} else if err := p.print(entry); err != nil {
			return err
		}
		p.partial = nil
	}
}

// end reports what could not be printed. What is partial will not be whole any
// more when the command has ended.
func (p *logPrinter) end(over bool) error {
	if over && len(p.partial) > 0 {
		p.damaged++
	}
	if p.damaged > 0 {
		return apierr.Internal("%d damaged lines of the log are left out", p.damaged)
	}
	return nil
}

type logEntry struct {
	Log, Stream string
	Time        time.Time
}

// parseEntry reads a line of the log; false where a crash or a full disk has left
// something else.
func parseEntry(line []byte) (entry logEntry, ok bool) {
	err := json.Unmarshal(line, &entry)
	return entry, err == nil && entry.Stream != ""
}

func (p *logPrinter) print(entry logEntry) error {
	if entry.Time.Before(p.options.Since) || !p.options.Until.IsZero() && entry.Time.After(p.options.Until) {
		return nil
	}
	to := p.stdout
	if entry.Stream == "stderr" {
		to = p.stderr
	}
	if p.options.Timestamps {
		entry.Log = entry.Time.Format(time.RFC3339Nano) + " " + entry.Log
	}
	_, err := io.WriteString(to, entry.Log)
	return err
}

// seekTail moves to the last n lines.
func seekTail(file *os.File, n int) error {
	const block = 64 << 10
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return err
	}
	buffer := make([]byte, block)
	for end := size; end > 0; {
		start := max(0, end-block)
		piece := buffer[:end-start]
		if _, err := file.ReadAt(piece, start); err != nil {
			return err
		}
		for i := bytes.LastIndexByte(piece, '\n'); i >= 0; i = bytes.LastIndexByte(piece[:i], '\n') {
			if start+int64(i)+1 == size {
				continue // the end of the last line
			}
			if n--; n <= 0 {
				_, err := file.Seek(start+int64(i)+1, io.SeekStart)
				return err
			}
		}
		end = start
	}
	_, err = file.Seek(0, io.SeekStart)
	return err
}
