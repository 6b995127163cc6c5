// Package shim is what the daemon and the CLI share with sluice-shim, the
// small process that keeps one command: its configuration, the frames on its
// socket, and a client for them.
//
// The shim waits with its command for a FrameGo, so that whoever attaches
// first loses no output. It serves any number of clients, and writes their
// commands' output to the log too.
package shim

import (
	"encoding/binary"
	"fmt"
	"io"
)

// FrameType tells the frames on a shim's socket apart. A frame is its type,
// the length of its payload as 4 bytes in network byte order, and the payload.
type FrameType byte

// Frames of a client.
const (
	FrameAttach     FrameType = 'a' // send me output from now on
	FrameGo         FrameType = 'g' // start the command
	FrameStdin      FrameType = 'i' // bytes for standard input
	FrameStdinClose FrameType = 'c'
	FrameSignal     FrameType = 's' // one byte: the signal for the command
)

// Frames of the shim. A client that attached gets all of them, any other only
// those about the command's life.
const (
	FrameStarted FrameType = 'S' // 4 bytes: the command's PID in the host's namespace
	FrameFailed  FrameType = 'F' // one byte: exit code 125, 126 or 127; then the reason
	FrameStdout  FrameType = 'O'
	FrameStderr  FrameType = 'E'
	FrameExit    FrameType = 'X' // one byte: the exit code
)

// MaxPayload bounds a frame's payload.
const MaxPayload = 32 << 10

const headerSize = 5

// AppendFrame appends a frame to b.
func AppendFrame(b []byte, kind FrameType, payload []byte) []byte {
	b = append(b, byte(kind))
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

// ReadFrame reads one frame. io.EOF means that the other side is gone.
func ReadFrame(r io.Reader) (FrameType, []byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(header[1:])
	if size > MaxPayload {
		return 0, nil, fmt.Errorf("frame %q of %d bytes: at most %d are allowed", header[0], size, MaxPayload)
	}
	payload := make([]byte, size)
	_, err := io.ReadFull(r, payload)
	return FrameType(header[0]), payload, err
}
