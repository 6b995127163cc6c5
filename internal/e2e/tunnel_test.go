package e2e

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/lab"
)

// TestUplinkWithoutLinkLayer covers a tunnel as an uplink: tun and wireguard
// devices carry packets without Ethernet headers, which containers need and
// the other side must not get.
func TestUplinkWithoutLinkLayer(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	lab.Tunnel(t, l.Host, l.Client, "tun0")
	const host4, client4, host6, client6 = "10.99.0.1", "10.99.0.2", "fd99::1", "fd99::2"
	l.Host.Address("tun0", host4+"/24")
	l.Client.Address("tun0", client4+"/24")
	l.Host.Address("tun0", host6+"/64")
	l.Client.Address("tun0", client6+"/64")
	l.Host.Eventually("tun0 an uplink", func() error {
		if info := l.OK("system", "info"); !strings.Contains(info, "tun0") {
			return errors.New(info)
		}
		return nil
	})

	l.OK("network", "create", "--ipv6", "dual")
	runServer(l, "web", "tcp-echo", ":80", "--network=dual", "-p", "8080:80")
	runServer(l, "dns", "udp-echo", ":53", "--network=dual", "-p", "5353:53/udp")
	l.Client.Background(selfPath, "tcp-echo", ":7000")
	for family, a := range map[string]struct{ host, client string }{
		"IPv4": {host4, client4}, "IPv6": {"[" + host6 + "]", "[" + client6 + "]"},
	} {
		t.Run(family, func(t *testing.T) {
			client := strings.Trim(a.client, "[]")
			if got := hostPart(t, greeting(l.Client, a.host+":8080")); got != client {
				t.Errorf("the server saw %s, want %s", got, client)
			}
			if got := datagram(l.Client, a.host+":5353", "hello"); !strings.HasSuffix(got, " hello") {
				t.Errorf("the UDP server answered %q", got)
			}
			if got := hostPart(t, greetingInside(l, "web", a.client+":7000")); got != strings.Trim(a.host, "[]") {
				t.Errorf("the client saw %s, want the host's address in the tunnel", got)
			}
			if got := l.OK("exec", "web", "busybox", "ping", "-c1", "-W2", client); !strings.Contains(got, " 0% packet loss") {
				t.Errorf("ping said:\n%s", got)
			}
		})
	}
}
