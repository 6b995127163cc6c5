package e2e

import (
	"bytes"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/lab"
)

// afterTicks is longer than what is known of a next hop holds, by far.
const afterTicks = 100 * time.Millisecond

// TestStreamFollowsRoutes covers a container that sends without a pause while the
// host's routes, neighbours and devices change: a moment later everything goes
// where they lead now, with the MAC addresses of now.
func TestStreamFollowsRoutes(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		f.joinAgain(l)
		l.OK("run", "-d", "--name=net00")
		expectUplinks(t, l, "two wires", "eth0 eth1")
		for _, n := range []*lab.Namespace{l.Host, l.Client} {
			untilSettled(n) // who asks for a neighbour does so by its link-local address
		}
		taps := map[string]*tap{"eth0": tapOn(l.Client, t, "eth0"), "eth1": tapOn(l.Client, t, "eth1")}
		router, other, own := macOf(l.Client, "eth0"), mustMAC("02:00:00:00:00:fd"), mustMAC("02:00:00:00:00:09")
		host, second, beyond := macOf(l.Host, "eth0"), macOf(l.Host, "eth1"), macOf(l.Client, "eth1")
		blackhole := []string{f.flag(), "route", "add", "blackhole", whole(f.far)}
		for _, step := range []struct {
			name     string
			ip       []string
			by       string // "" when nothing may leave
			from, to net.HardwareAddr
		}{
			{"as it is", []string{"link", "show"}, "eth0", host, router},
			{"the router has another MAC address", []string{f.flag(), "neigh", "replace", f.client, "lladdr", other.String(), "dev", "eth0", "nud", "permanent"}, "eth0", host, other},
			{"the host has another one, and asks for the router's anew", []string{"link", "set", "eth0", "address", own.String()}, "eth0", own, router},
			{"by the other wire", []string{f.flag(), "route", "replace", "default", "via", f.vpnPeer}, "eth1", second, beyond},
			{"no way", blackhole, "", nil, nil},
			{"a way again", []string{f.flag(), "route", "del", "blackhole", whole(f.far)}, "eth1", second, beyond},
			{"by the first wire", []string{f.flag(), "route", "replace", "default", "via", f.client}, "eth0", own, router},
		} {
			s := startDatagrams(t, lab.NamespaceAt(t, sandboxOf(l, "net00")), port(f.far, "7"))
			time.Sleep(afterTicks)
			l.Host.Output("ip", step.ip...)
			time.Sleep(afterTicks)
			s.changed.Store(true)
			time.Sleep(afterTicks)
			s.stop()
			came := 0
			for device, tap := range taps {
				for frame := tap.receive(afterTicks); frame != nil; frame = tap.receive(afterTicks) {
					if !bytes.Contains(frame, []byte(datagramsAfter)) {
						continue
					}
					came++
					if device != step.by || !bytes.HasPrefix(frame, append(bytes.Clone(step.to), step.from...)) {
						t.Fatalf("%s: by %s comes %x", step.name, device, frame)
					}
				}
			}
			if (came > 0) != (step.by != "") {
				t.Errorf("%s: %d packets come", step.name, came)
			}
		}
	})
}

// What a datagramStream says before a change and behind it.
const (
	datagramsBefore = "before the change"
	datagramsAfter  = "behind the change"
)

// datagramStream sends datagrams by one socket, many in each tick.
type datagramStream struct {
	changed, ended atomic.Bool
	done           chan struct{}
}

func startDatagrams(t testing.TB, n *lab.Namespace, to string) *datagramStream {
	t.Helper()
	s := &datagramStream{done: make(chan struct{})}
	var conn net.Conn
	n.Must(func() (err error) {
		conn, err = net.Dial("udp", to)
		return err
	})
	go func() {
		defer close(s.done)
		defer conn.Close()
		for i := 0; !s.ended.Load(); i++ {
			text := datagramsBefore
			if s.changed.Load() {
				text = datagramsAfter
			}
			_, _ = conn.Write([]byte(text)) // an error is of a datagram before, when there is no way
			if i%20 == 0 {
				time.Sleep(500 * time.Microsecond)
			}
		}
	}()
	return s
}

func (s *datagramStream) stop() {
	s.ended.Store(true)
	<-s.done
}
