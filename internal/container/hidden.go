package container

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// signalHidden sends a signal to a command whose shim lives and cannot be reached,
// because somebody has removed its directory. Where there is no such command, it
// has ended.
func (m *Manager) signalHidden(r Record, signal syscall.Signal) error {
	if _, err := os.Lstat(m.Dirs.Shim(r.ID)); !errors.Is(err, os.ErrNotExist) || r.Pid == 0 {
		return nil // the directory of one that has ended is there until its end is noted
	}
	process, err := unix.PidfdOpen(r.Pid, 0)
	if err != nil {
		return nil //nolint:nilerr // there is none
	}
	defer unix.Close(process)
	if !startedBy(r.Pid, m.Dirs.Shim(r.ID)) {
		return nil // another has its number
	}
	if err := unix.PidfdSendSignal(process, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	return nil
}

// startedBy says whether a process is the child of the shim of a directory.
func startedBy(pid int, dir string) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for _, line := range strings.Split(string(status), "\n") {
		parent, found := strings.CutPrefix(line, "PPid:")
		if !found {
			continue
		}
		number, err := strconv.Atoi(strings.TrimSpace(parent))
		if err != nil {
			return false
		}
		command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", number))
		return err == nil && slices.ContainsFunc(bytes.Split(command, []byte{0}), func(arg []byte) bool { return string(arg) == dir })
	}
	return false
}
