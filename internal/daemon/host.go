package daemon

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

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

// How long to wait for what a daemon that is gone still has, and how often to look:
// a child that it was starting when it was killed has copies of its descriptors until
// it executes.
const (
	leftTimeout = 5 * time.Second
	leftPause   = 2 * time.Millisecond
)

// takeLock takes the instance for this process until the file is closed.
func takeLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = flock(file)
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder := lockHolder(file)
		_ = file.Close()
		return nil, fmt.Errorf("%w (PID %d, lock %s): stop it first, or choose another --root", ErrRunning, holder, path)
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// The PID is for whoever finds the lock taken.
	if err = file.Truncate(0); err == nil {
		_, err = fmt.Fprintf(file, "%d\n", os.Getpid())
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return file, nil
}

// flock locks a file, and waits only for a holder that runs no more.
func flock(file *os.File) (err error) {
	for deadline := time.Now().Add(leftTimeout); time.Now().Before(deadline); time.Sleep(leftPause) {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || runs(lockHolder(file)) {
			return err
		}
	}
	return err
}

// lockHolder is the PID in a lock's file, 0 while there is none.
func lockHolder(file *os.File) int {
	said := make([]byte, 16)
	n, _ := file.ReadAt(said, 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(said[:n])))
	return pid
}

// runs says whether another process has a PID. That of a daemon before may be ours
// now, as it is in containers.
func runs(pid int) bool {
	return pid > 0 && pid != os.Getpid() && !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
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
