package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/sluice-net/sluice/internal/apierr"
)

// ErrorTrailer is the trailer of an answer that failed in the middle; it says
// why.
const ErrorTrailer = "Sluice-Error"

// readLines calls emit with each object of an answer that has one per line,
// and closes it.
func readLines[T any](answer io.ReadCloser, emit func(T) error) error {
	defer answer.Close()
	decoder := json.NewDecoder(answer)
	for {
		var line T
		err := decoder.Decode(&line)
		var failed *apierr.Error
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return ErrDaemonGone
		case errors.As(err, &failed):
			return err
		case err != nil:
			return fmt.Errorf("the daemon's answer: %w", err)
		}
		if err := emit(line); err != nil {
			return err
		}
	}
}
