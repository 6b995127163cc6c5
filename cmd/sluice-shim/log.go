package main

import (
	"bytes"
	"encoding/json"
	"os"
	"sync"
	"time"
)

// maxLine is where a long line is cut, as Docker cuts it.
const maxLine = 16 << 10

// logFile is a container's log: a line of JSON per line of output, in Docker's
// json-file format.
type logFile struct {
	mu   sync.Mutex
	file *os.File // nil for no log
}

type logEntry struct {
	Log    string    `json:"log"`
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
}

func openLog(path string) (*logFile, error) {
	if path == "" {
		return &logFile{}, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	return &logFile{file: file}, err
}

func (l *logFile) close() {
	if l.file != nil {
		_ = l.file.Close()
	}
}

// stream returns a writer of one stream's lines.
func (l *logFile) stream(name string) *logStream { return &logStream{log: l, name: name} }

type logStream struct {
	log  *logFile
	name string
	line []byte // what has no end yet
}

// write logs the lines that a piece of output completes.
func (s *logStream) write(piece []byte) {
	if s.log.file == nil {
		return
	}
	s.line = append(s.line, piece...)
	for {
		end := bytes.IndexByte(s.line, '\n') + 1
		if end == 0 && len(s.line) >= maxLine || end > maxLine {
			end = maxLine
		}
		if end == 0 {
			return
		}
		s.entry(s.line[:end])
		s.line = append(s.line[:0], s.line[end:]...)
	}
}

// flush logs a last line that has no end.
func (s *logStream) flush() {
	if len(s.line) > 0 {
		s.entry(s.line)
	}
}

func (s *logStream) entry(text []byte) {
	line, err := json.Marshal(logEntry{Log: string(text), Stream: s.name, Time: time.Now().UTC()})
	if err != nil {
		return
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	_, _ = s.log.file.Write(append(line, '\n'))
}
