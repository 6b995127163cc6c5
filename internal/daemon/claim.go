package daemon

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/dirs"
)

// ErrClaimed is returned when the daemon of another root has the network
// namespace: two would fight over its devices and published ports.
var ErrClaimed = errors.New("a network namespace takes one daemon")

// claimName is in the abstract namespace of unix sockets, which is one per
// network namespace. Whoever connects is told whose it is.
const claimName = "@sluice-daemon"

// claimTimeout bounds how long the other side may take to say who it is.
const claimTimeout = time.Second

// instanceName is what an instance is called in messages and on its devices:
// the path of its root, however it was written.
func instanceName(d dirs.Dirs) (string, error) {
	root := d.Root
	if root == "" {
		return d.State, nil
	}
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", err
	}
	return filepath.Abs(root)
}

// claimNamespace takes the network namespace for an instance until the listener
// is closed. An ordinary user who has the name cannot keep a daemon away: it
// goes on without, and nil is returned.
func claimNamespace(instance string) (net.Listener, error) {
	listener, err := net.Listen("unix", claimName)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, refuseClaimed()
	}
	if err != nil {
		return nil, fmt.Errorf("claim the network namespace: %w", err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(claimTimeout))
			_, _ = io.WriteString(conn, instance)
			_ = conn.Close()
		}
	}()
	return listener, nil
}

// refuseClaimed asks whose the claim is.
func refuseClaimed() error {
	conn, err := net.DialTimeout("unix", claimName, claimTimeout)
	if err != nil {
		return fmt.Errorf("%w, and another is starting in this one", ErrClaimed)
	}
	defer conn.Close()
	owner, err := peerUser(conn.(*net.UnixConn))
	if err != nil || owner != 0 {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(claimTimeout))
	other, err := io.ReadAll(io.LimitReader(conn, unix.PathMax))
	if err != nil {
		return fmt.Errorf("%w, and another has this one", ErrClaimed)
	}
	return fmt.Errorf("%w, and that of %s has this one: stop it and reset it first, or start this one in a namespace of its own", ErrClaimed, other)
}

// peerUser returns who listens at the other end.
func peerUser(conn *net.UnixConn) (uid uint32, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(fd uintptr) {
		var peer *unix.Ucred
		if peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = peer.Uid
		}
	})
	return uid, errors.Join(failed, err)
}
