package e2e

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

// udpAskOften sends a datagram from 127.0.0.1 to ADDR:PORT every half a millisecond for
// DURATION, and fails when none has an answer.
func udpAskOften(args []string) error {
	duration, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	from := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}}
	conn, err := from.Dial("udp", args[0])
	if err != nil {
		return err
	}
	answers := make(chan int, 1)
	go func() {
		got, buffer := 0, make([]byte, 2048)
		for {
			switch _, err := conn.Read(buffer); {
			case err == nil:
				got++
			case !errors.Is(err, unix.ECONNREFUSED): // the server may have to begin yet
				answers <- got
				return
			}
		}
	}()
	for end := time.Now().Add(duration); time.Now().Before(end); time.Sleep(500 * time.Microsecond) {
		if _, err := conn.Write([]byte("x")); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(askTimeout))
	if <-answers == 0 {
		return errors.New("no answer")
	}
	return nil
}

// TestLinkInPlaceOfFilter: while a container's program is both a filter and a
// link, no reply that it turns back is taken for a forgery. A daemon that is
// killed right after the container started leaves the filter, and the next makes
// the link.
func TestLinkInPlaceOfFilter(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	for i := range 3 {
		port := fmt.Sprint(8080 + i)
		runServer(l, "web"+port, "udp-echo", ":80", "-p", port+":80/udp")
		l.StopDaemon(unix.SIGKILL)
		asking := l.Host.Background(selfPath, "udp-ask-often", "127.0.0.1:"+port, "1500ms")
		l.StartDaemon()
		if err := asking.Wait(); err != nil {
			t.Errorf("while %s gets its link: %v", port, err)
		}
	}
	if drops := systemInfo(l).Drops; len(drops) > 0 {
		t.Errorf("dropped while a link is made: %s", named(drops))
	}
}

// TestKilledWithFilters covers a daemon that is killed before containers have their
// links, and before the devices of those that are gone again are deleted: the next
// one finds all of it.
func TestKilledWithFilters(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	for i := range 3 {
		name := fmt.Sprintf("net0%d", i)
		l.OK("run", "-d", "--name="+name)
		l.OK("run", "-d", "--name=gone")
		l.OK("rm", "-f", "gone")
		l.StopDaemon(unix.SIGKILL)
		l.StartDaemon()
		expectInvariants(l)
	}
}
