package main

import (
	"bytes"
	"encoding/json"
	"os"
	"sync"
	"time"
	"unicode/utf8"
)

// maxLine is where a long line is cut, as Docker cuts it, or before a character
// that would be cut: JSON takes none in pieces.
const maxLine = 16 << 10

// logFile is a container's log: a line of JSON per line of output, in Docker's
// json-file format.
type logFile struct {
	mu   sync.Mutex
	file *os.File // nil for no log
	torn bool     // the last line has no end: a crash or a full disk cut it off
}

func openLog(path string) (*logFile, error) {
	if path == "" {
		return &logFile{}, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640)
	if err != nil {
		return nil, err
	}
	log := &logFile{file: file}
	last := make([]byte, 1)
	if info, err := file.Stat(); err == nil && info.Size() > 0 {
		n, _ := file.ReadAt(last, info.Size()-1)
		log.torn = n == 1 && last[0] != '\n'
	}
	return log, nil
}

// write appends whole entries. Behind a torn one they begin a line of their own.
func (l *logFile) write(entries []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.torn {
		entries = append([]byte{'\n'}, entries...)
	}
	if n, _ := l.file.Write(entries); n > 0 {
		l.torn = entries[n-1] != '\n'
	}
}

func (l *logFile) close() {
	if l.file != nil {
		_ = l.file.Close()
	}
}

// stream returns a writer of one stream's lines.
func (l *logFile) stream(name string) *logStream { return &logStream{log: l, name: name} }

type logStream struct {
	log     *logFile
	name    string
	line    []byte // what has no end yet
	pending []byte // entries that are still to be written
}

// maxPending is how many bytes of entries are collected for one write.
const maxPending = 64 << 10

// write logs the lines that a piece of output completes. They came together, so
// they have one time.
func (s *logStream) write(piece []byte) {
	if s.log.file == nil {
		return
	}
	rest := piece
	if len(s.line) > 0 {
		s.line = append(s.line, piece...)
		rest = s.line
	}
	tail := s.tail()
	for {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 && len(rest) >= maxLine || end > maxLine {
			end = maxLine - halfCharacter(rest[:maxLine])
		}
		if end == 0 {
			break
		}
		s.entry(rest[:end], tail)
		rest = rest[end:]
	}
	s.line = append(s.line[:0], rest...)
	s.writePending()
}

// halfCharacter is how many bytes at the end of a text begin a character of
// UTF-8 that has more.
func halfCharacter(text []byte) int {
	for n := 1; n < utf8.UTFMax; n++ {
		if begun := text[len(text)-n:]; utf8.RuneStart(begun[0]) {
			if utf8.FullRune(begun) {
				return 0
			}
			return n
		}
	}
	return 0
}

// flush logs a last line that has no end.
func (s *logStream) flush() {
	if len(s.line) > 0 {
		s.entry(s.line, s.tail())
		s.writePending()
	}
}

// tail is what follows the text in an entry of now.
func (s *logStream) tail() []byte {
	tail := append([]byte(`,"stream":"`), s.name...)
	tail = append(tail, `","time":"`...)
	tail = time.Now().UTC().AppendFormat(tail, time.RFC3339Nano)
	return append(tail, "\"}\n"...)
}

func (s *logStream) entry(text, tail []byte) {
	s.pending = append(s.pending, `{"log":`...)
	s.pending = appendString(s.pending, text)
	s.pending = append(s.pending, tail...)
	if len(s.pending) >= maxPending {
		s.writePending()
	}
}

func (s *logStream) writePending() {
	if len(s.pending) == 0 {
		return
	}
	s.log.write(s.pending)
	s.pending = s.pending[:0]
}

// appendString appends a string of JSON. Most lines are plain, and what needs
// no escape is copied.
func appendString(b, text []byte) []byte {
	line, ended := bytes.CutSuffix(text, []byte("\n"))
	for _, c := range line {
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(string(text)) // of a string never fails
			return append(b, quoted...)
		}
	}
	b = append(append(b, '"'), line...)
	if ended {
		b = append(b, `\n`...)
	}
	return append(b, '"')
}
