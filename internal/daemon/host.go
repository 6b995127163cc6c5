package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrRunning is returned when another daemon has the instance.
var ErrRunning = errors.New("a daemon is running on this root already")

func requireRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("this needs root: it loads programs and makes devices and namespaces")
	}
	return nil
}

// takeLock takes the instance for this process until the file is closed.
func takeLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		pid, _ := io.ReadAll(io.LimitReader(file, 16))
		_ = file.Close()
		return nil, fmt.Errorf("%w (PID %s, lock %s): stop it first, or choose another --root", ErrRunning, strings.TrimSpace(string(pid)), path)
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// The PID is for the eyes of whoever finds the lock taken.
	if err = file.Truncate(0); err == nil {
		_, err = fmt.Fprintf(file, "%d\n", os.Getpid())
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return file, nil
}

// soNetnsCookie is SO_NETNS_COOKIE (include/uapi/asm-generic/socket.h).
const soNetnsCookie = 71

// netnsCookie returns the cookie of the network namespace that is the host:
// the one the daemon is in.
func netnsCookie() (uint64, error) {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(socket)
	cookie, err := unix.GetsockoptUint64(socket, unix.SOL_SOCKET, soNetnsCookie)
	if err != nil {
		return 0, fmt.Errorf("read the network namespace's cookie: %w", err)
	}
	return cookie, nil
}

// kernelRelease is what uname -r prints.
func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Release[:])
}
