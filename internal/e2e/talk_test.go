package e2e

import (
	"bufio"
	"net"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/lab"
)

// talk is an established connection to an echo server.
type talk struct {
	t      testing.TB
	conn   net.Conn
	reader *bufio.Reader

	greeting string // the server's first line
}

// newTalk connects from a namespace.
func newTalk(t testing.TB, n *lab.Namespace, addr string) *talk {
	t.Helper()
	k := &talk{t: t}
	n.Must(func() (err error) {
		k.conn, err = net.DialTimeout("tcp", addr, askTimeout)
		return err
	})
	t.Cleanup(func() { k.conn.Close() })
	k.reader = bufio.NewReader(k.conn)
	k.greeting = k.expectLine()
	return k
}

// setDeadline fails for closed connections, as reading and writing will.
func (k *talk) setDeadline() { _ = k.conn.SetDeadline(time.Now().Add(30 * time.Second)) }

func (k *talk) expectLine() string {
	k.t.Helper()
	k.setDeadline()
	line, err := k.reader.ReadString('\n')
	if err != nil {
		k.t.Errorf("an established connection: %v", err)
	}
	return line
}

// say sends a line, which must come back.
func (k *talk) say(line string) {
	k.t.Helper()
	k.setDeadline() // the last one may be long past
	if _, err := k.conn.Write([]byte(line + "\n")); err != nil {
		k.t.Errorf("an established connection: %v", err)
		return
	}
	if got := k.expectLine(); got != line+"\n" {
		k.t.Errorf("sent %q, got %q", line, got)
	}
}
