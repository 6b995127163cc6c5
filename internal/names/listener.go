package names

import (
	"errors"
	"net"
	"sync"
)

// maxConnections is how many TCP connections a sandbox may have with its
// server. One more is closed at once.
const maxConnections = 64

// listener bounds the connections that are open, and closes them with itself:
// each is a descriptor of the daemon, and holds the namespace.
type listener struct {
	net.Listener

	mu     sync.Mutex
	open   map[*connection]bool
	closed bool
}

func newListener(l net.Listener) *listener {
	return &listener{Listener: l, open: map[*connection]bool{}}
}

// connection leaves its listener when it is closed.
type connection struct {
	net.Conn
	listener *listener
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &connection{conn, l}
		if l.admit(c) {
			return c, nil
		}
		_ = conn.Close()
	}
}

func (l *listener) admit(c *connection) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.open) >= maxConnections {
		return false
	}
	l.open[c] = true
	return true
}

// Close closes the listener and every connection.
func (l *listener) Close() error {
	errs := []error{l.Listener.Close()}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for c := range l.open {
		errs = append(errs, c.Conn.Close())
	}
	clear(l.open)
	return errors.Join(errs...)
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	if !c.listener.open[c] {
		return nil // the listener has closed it
	}
	delete(c.listener.open, c)
	return c.Conn.Close()
}
