package shim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Launch starts a shim in dir, which must not exist, and returns once its
// socket accepts. The command waits for the first client's Start or Attach.
// When Launch fails, dir is gone.
func Launch(binary, dir string, config Config) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := launch(binary, dir, config); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return nil
}

// Remove removes a shim's directory; one that is not there is no error. It is
// moved away first: a shim that is just ending writes to it by its name.
func Remove(dir string) error {
	gone := dir + ".gone"
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	if err := os.Rename(dir, gone); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.RemoveAll(gone)
}

func launch(binary, dir string, config Config) error {
	if err := writeConfig(dir, config); err != nil {
		return err
	}
	errors, err := os.OpenFile(filepath.Join(dir, errorFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer errors.Close()
	ready, readyOut, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd := exec.Command(binary, dir)
	cmd.Dir = "/"
	cmd.Stderr = errors
	cmd.ExtraFiles = []*os.File{readyOut} // descriptor 3
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	readyOut.Close()
	if err != nil {
		return fmt.Errorf("start the shim: %w", err)
	}
	go func() { _ = cmd.Wait() }() // no zombie while we live; init has it after us
	if n, _ := ready.Read(make([]byte, 1)); n == 1 {
		return nil
	}
	said, _ := os.ReadFile(errors.Name())
	return fmt.Errorf("the shim did not start: %s", strings.TrimSpace(string(said)))
}
