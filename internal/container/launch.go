package container

import (
	"errors"
	"sync"

	"github.com/sluice-net/sluice/internal/shim"
)

// launch is the start of a shim, which goes on while the endpoint of its sandbox
// is made: a shim has its container ready but for the command in about the time
// that the kernel takes to attach a program.
type launch struct {
	manager *Manager
	record  Record
	once    sync.Once
	done    chan struct{}
	conn    *shim.Conn
	err     error
}

func (m *Manager) newLaunch(r Record) *launch {
	return &launch{manager: m, record: r, done: make(chan struct{})}
}

// begin launches the shim, unless that was done. The sandbox's namespace and the
// files that the container gets must be there.
func (l *launch) begin() {
	l.once.Do(func() {
		go func() {
			defer close(l.done)
			l.conn, l.err = l.manager.launchShim(l.record)
		}()
	})
}

// wait returns a connection to the shim that nothing has been read from.
func (l *launch) wait() (*shim.Conn, error) {
	l.begin()
	<-l.done
	return l.conn, l.err
}

// abort ends a shim whose command was not started, if it was launched at all.
func (l *launch) abort() error {
	l.once.Do(func() { close(l.done) })
	<-l.done
	if l.conn == nil {
		return nil // what failed to launch has left nothing
	}
	err := l.conn.Signal(sigkill)
	_, _ = l.conn.Wait()
	return errors.Join(err, l.conn.Close(), shim.Remove(l.manager.Dirs.Shim(l.record.ID)))
}

// launchShim starts the shim of a container.
func (m *Manager) launchShim(r Record) (*shim.Conn, error) {
	config, err := m.shimConfig(r)
	if err != nil {
		return nil, err
	}
	dir := m.Dirs.Shim(r.ID)
	if err := shim.Remove(dir); err != nil {
		return nil, err
	}
	if err := shim.Launch(m.Shim, dir, config); err != nil {
		return nil, err
	}
	return shim.Dial(shim.Socket(dir))
}
