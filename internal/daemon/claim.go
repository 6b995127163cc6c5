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
	var listener net.Listener
	var err error
	for deadline := time.Now().Add(leftTimeout); ; time.Sleep(leftPause) {
		listener, err = net.Listen("unix", claimName)
		if !errors.Is(err, unix.EADDRINUSE) {
			break
		}
		other, owner, err := askClaimed()
		switch {
		case err == nil && owner != 0:
			return nil, nil
		case err == nil && other != "":
			return nil, fmt.Errorf("%w, and that of %s has this one: stop it and reset it first, or start this one in a namespace of its own", ErrClaimed, other)
		case time.Now().After(deadline):
			return nil, fmt.Errorf("%w, and another has this one and does not say whose it is", ErrClaimed)
		}
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

// askClaimed asks whose the claim is: which user's and, when that is root, which
// instance's. A daemon that is gone, or has yet to begin, does not answer.
func askClaimed() (instance string, owner uint32, err error) {
	conn, err := net.DialTimeout("unix", claimName, claimTimeout)
	if err != nil {
		return "", 0, err
	}
	defer conn.Close()
	if owner, err = peerUser(conn.(*net.UnixConn)); err != nil || owner != 0 {
		return "", owner, err
	}
	_ = conn.SetDeadline(time.Now().Add(claimTimeout))
	said, err := io.ReadAll(io.LimitReader(conn, unix.PathMax))
	return string(said), owner, err
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
