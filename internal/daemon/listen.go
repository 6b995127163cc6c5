package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/dirs"
	"github.com/sluice-net/sluice/internal/unixpath"
)

// apiSocket is a listener, and the file by which clients find it.
type apiSocket struct {
	net.Listener
	path string
	file os.FileInfo
}

// listen opens the API's socket. The lock is ours, so what is there was left by a
// daemon that is gone, or put there by somebody else.
func listen(d dirs.Dirs) (*apiSocket, error) {
	s := &apiSocket{path: d.Socket()}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	config := net.ListenConfig{Control: closeToOthers}
	err := unixpath.Use(s.path, func(path string) error {
		listener, err := config.Listen(context.Background(), "unix", path)
		if err != nil {
			return err
		}
		listener.(*net.UnixListener).SetUnlinkOnClose(false) // the next daemon removes it, a reset too
		s.Listener = listener
		s.file, err = os.Lstat(path)
		return errors.Join(err, os.Chmod(path, 0o660))
	})
	if err != nil {
		return nil, fmt.Errorf("listen on the API's socket: %w", err)
	}
	return s, nil
}

// closeToOthers keeps everybody out until the mode is set: the file gets that of
// the socket. Files that others make at this moment would have a umask, too.
func closeToOthers(_, _ string, conn syscall.RawConn) (err error) {
	failed := conn.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) })
	return errors.Join(failed, err)
}

// found says whether clients still find the listener.
func (s *apiSocket) found() bool {
	file, err := os.Lstat(s.path)
	return err == nil && os.SameFile(file, s.file)
}

// keepListening serves the API by a socket, and until i.unlisten by another at its
// place when somebody has removed it. It returns where to learn that serving has
// failed.
func (i *instance) keepListening(server *http.Server, socket *apiSocket) (failed chan error) {
	failed = make(chan error, 1)
	serve := func(s *apiSocket) {
		if err := server.Serve(s); !errors.Is(err, net.ErrClosed) {
			failed <- err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	i.unlisten = func() { cancel(); <-ended }
	go serve(socket)
	go func() {
		defer close(ended)
		ticker := time.NewTicker(i.options.repairInterval())
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if socket.found() {
				continue
			}
			next, err := listen(i.dirs)
			if err != nil {
				i.log.Error("the API's socket is gone, and there is no other", "error", err)
				continue
			}
			i.log.Warn("the API's socket was removed: made another", "socket", i.dirs.Socket())
			go serve(next)
			_ = socket.Close()
			socket = next
		}
	}()
	return failed
}
