// Package apierr holds the errors that a user sees: a message, the HTTP status
// that the API answers with, and the exit code of `run` and `exec`. It depends
// on nothing, so that every layer can return them.
package apierr

import (
	"errors"
	"fmt"
)

// Error is an error with an HTTP status and an exit code.
type Error struct {
	Status   int // HTTP
	ExitCode int // of `run` and `exec`: 125, 126 or 127
	Message  string
}

func (e *Error) Error() string { return e.Message }

// ExitDaemon is the exit code of `run` when sluice itself is at fault.
const ExitDaemon = 125

func newError(status int, format string, args []any) *Error {
	return &Error{Status: status, ExitCode: ExitDaemon, Message: fmt.Sprintf(format, args...)}
}

// BadParameter is for input that can never work.
func BadParameter(format string, args ...any) *Error { return newError(400, format, args) }

// Forbidden is for what is never allowed.
func Forbidden(format string, args ...any) *Error { return newError(403, format, args) }

// NotFound is for an object that does not exist.
func NotFound(format string, args ...any) *Error { return newError(404, format, args) }

// Conflict is for what the present state does not allow.
func Conflict(format string, args ...any) *Error { return newError(409, format, args) }

// Internal is for what is not the user's fault.
func Internal(format string, args ...any) *Error { return newError(500, format, args) }

// StatusOf returns the HTTP status of an error: 500 for one of no known kind.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 500
}
