// Package companion finds the programs that are installed together with the
// one that runs: sluice, sluice-daemon and sluice-shim know each other by name.
package companion

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Names of the programs.
const (
	Daemon = "sluice-daemon"
	Shim   = "sluice-shim"
)

// ErrMissing is returned when a companion is not installed.
var ErrMissing = errors.New("it is neither beside sluice nor in PATH: install them together (make install)")

// Find returns the path of a companion: beside the running program, else in
// PATH.
func Find(name string) (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is missing: %w", name, ErrMissing)
	}
	return filepath.Abs(path)
}
