package main

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/shim"
)

// drainTimeout is how long output may stay away once the command has ended;
// then whoever else holds the pipe is left alone.
const drainTimeout = 500 * time.Millisecond

// streams are the pipes between the shim and its command.
type streams struct {
	stdin          *os.File // nil for /dev/null
	stdout, stderr *os.File
	child          [3]*os.File
}

func openStreams(openStdin bool) (*streams, error) {
	s := &streams{}
	var err error
	if openStdin {
		s.child[0], s.stdin, err = os.Pipe()
	} else {
		s.child[0], err = os.Open(os.DevNull)
	}
	if err != nil {
		return nil, err
	}
	if s.stdout, s.child[1], err = os.Pipe(); err != nil {
		return nil, err
	}
	s.stderr, s.child[2], err = os.Pipe()
	return s, err
}

// closeChild closes the command's ends, which it has inherited.
func (s *streams) closeChild() {
	for _, f := range s.child {
		f.Close()
	}
}

// childFDs are the command's descriptors 0 to 2.
func (s *streams) childFDs() []uintptr {
	var fds []uintptr
	for _, f := range s.child {
		fds = append(fds, f.Fd())
	}
	return fds
}

// drain bounds what is still read now that the command has ended.
func (s *streams) drain() {
	deadline := time.Now().Add(drainTimeout)
	_ = s.stdout.SetReadDeadline(deadline)
	_ = s.stderr.SetReadDeadline(deadline)
}

// copyOutput carries output to the log and the clients until both pipes end.
func (k *keeper) copyOutput(s *streams) *sync.WaitGroup {
	var done sync.WaitGroup
	done.Go(func() { k.copyStream(s.stdout, "stdout", shim.FrameStdout) })
	done.Go(func() { k.copyStream(s.stderr, "stderr", shim.FrameStderr) })
	return &done
}

func (k *keeper) copyStream(from *os.File, name string, kind shim.FrameType) {
	log := k.log.stream(name)
	defer log.flush()
	buffer := make([]byte, shim.MaxPayload)
	pass := func(from io.Reader) error {
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				log.write(buffer[:n])
				k.output(kind, buffer[:n])
			}
			if err != nil {
				return err
			}
		}
	}
	if err := pass(from); errors.Is(err, os.ErrDeadlineExceeded) {
		// If a slow client has used up the time, the command's last words are
		// still to be read.
		_ = from.SetReadDeadline(time.Time{})
		_ = pass(io.LimitReader(from, unread(from)))
	}
}

// unread is how many bytes are in a pipe.
func unread(pipe *os.File) int64 {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return 0
	}
	var n int
	if failed := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); failed != nil || err != nil {
		return 0
	}
	return int64(n)
}

// output sends a piece to those who attached, outside the lock: a client that
// does not read holds up the command, as a full pipe would, but nobody else.
func (k *keeper) output(kind shim.FrameType, piece []byte) {
	k.mu.Lock()
	var attached []*client
	for c := range k.clients {
		if c.attached {
			attached = append(attached, c)
		}
	}
	k.mu.Unlock()
	for _, c := range attached {
		c.send(kind, piece)
	}
}

// feed writes to the command's standard input. One that nobody reads any more
// is no error of the client's.
func (k *keeper) feed(input []byte) {
	<-k.spawned
	k.mu.Lock()
	stdin := k.stdin
	k.mu.Unlock()
	if stdin != nil {
		_, _ = stdin.Write(input)
	}
}

func (k *keeper) closeStdin() {
	<-k.spawned
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stdin != nil {
		_ = k.stdin.Close()
		k.stdin = nil
	}
}
