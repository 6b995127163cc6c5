package api

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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

// A stream of logs interleaves two streams as Docker's API does: a header of
// StreamHeader bytes (the stream, three zeros, the length in network byte
// order) and the bytes.
const (
	StreamStdout = 1
	StreamStderr = 2
	StreamHeader = 8
)

// copyLogs takes the two streams apart again.
func copyLogs(from io.Reader, stdout, stderr io.Writer) error {
	var header [StreamHeader]byte
	for {
		_, err := io.ReadFull(from, header[:])
		var failed *apierr.Error
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &failed):
			return err
		case err != nil:
			return fmt.Errorf("read the log: %w", err)
		}
		to := stdout
		if header[0] == StreamStderr {
			to = stderr
		}
		if _, err := io.CopyN(to, from, int64(binary.BigEndian.Uint32(header[4:]))); err != nil {
			return err
		}
	}
}
