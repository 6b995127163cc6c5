package shim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/sluice-net/sluice/internal/unixpath"
)

// StartError is a command that could not be started: code 125 for sluice's own
// errors, 126 for a command that cannot be executed, 127 for one that does not
// exist.
type StartError struct {
	Code    int
	Message string
}

func (e *StartError) Error() string { return e.Message }

// ErrGone is returned when the shim ended without saying how its command did.
var ErrGone = errors.New("the shim is gone")

// ErrOutput is returned when a client cannot write what its command says. The
// command goes on.
var ErrOutput = errors.New("write the command's output")

// Conn is a client's connection to a shim.
type Conn struct {
	socket net.Conn
	mu     sync.Mutex // for writing
}

// Dial connects to a shim's socket.
func Dial(path string) (*Conn, error) {
	var socket net.Conn
	err := unixpath.Use(path, func(path string) (err error) {
		socket, err = net.Dial("unix", path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connect to the shim: %w", err)
	}
	return &Conn{socket: socket}, nil
}

// Close ends the connection; the command goes on.
func (c *Conn) Close() error { return c.socket.Close() }

func (c *Conn) send(kind FrameType, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.socket.Write(AppendFrame(nil, kind, payload))
	return err
}

// Start lets the shim start its command and returns the command's PID. The
// error of a command that cannot be started is a *StartError.
func (c *Conn) Start() (pid int, err error) {
	if err := c.send(FrameGo, nil); err != nil {
		return 0, err
	}
	return c.Started()
}

// Started waits until the command has been started, by whomever.
func (c *Conn) Started() (pid int, err error) {
	for {
		kind, payload, err := ReadFrame(c.socket)
		switch {
		case err != nil:
			return 0, gone(err)
		case kind == FrameStarted && len(payload) == 4:
			return int(binary.BigEndian.Uint32(payload)), nil
		case kind == FrameFailed:
			return 0, startError(payload)
		}
	}
}

// Wait waits for the command's end and returns its exit code.
func (c *Conn) Wait() (code int, err error) { return c.follow(io.Discard, io.Discard) }

// Signal sends the command a signal.
func (c *Conn) Signal(signal syscall.Signal) error {
	return c.send(FrameSignal, []byte{byte(signal)})
}

// Attach starts the command if nobody has yet, connects it to the streams and
// returns its exit code. A nil stdin is left alone; the end of another closes
// the command's standard input.
func (c *Conn) Attach(stdin io.Reader, stdout, stderr io.Writer) (code int, err error) {
	if err := c.send(FrameAttach, nil); err != nil {
		return 0, gone(err)
	}
	if err := c.send(FrameGo, nil); err != nil {
		return 0, gone(err)
	}
	if stdin != nil {
		go c.feed(stdin)
	}
	return c.follow(stdout, stderr)
}

// feed copies stdin to the command. Its errors show when the answers end.
func (c *Conn) feed(stdin io.Reader) {
	buffer := make([]byte, MaxPayload)
	for {
		n, err := stdin.Read(buffer)
		if n > 0 && c.send(FrameStdin, buffer[:n]) != nil {
			return
		}
		if err != nil {
			_ = c.send(FrameStdinClose, nil)
			return
		}
	}
}

// follow copies output until the command ends.
func (c *Conn) follow(stdout, stderr io.Writer) (code int, err error) {
	for {
		kind, payload, err := ReadFrame(c.socket)
		if err != nil {
			return 0, gone(err)
		}
		switch kind {
		case FrameStdout:
			_, err = stdout.Write(payload)
		case FrameStderr:
			_, err = stderr.Write(payload)
		case FrameFailed:
			return 0, startError(payload)
		case FrameExit:
			if len(payload) == 1 {
				return int(payload[0]), nil
			}
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrOutput, err)
		}
	}
}

func gone(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return ErrGone
	}
	return err
}

func startError(payload []byte) error {
	if len(payload) == 0 {
		return ErrGone
	}
	return &StartError{Code: int(payload[0]), Message: string(payload[1:])}
}
