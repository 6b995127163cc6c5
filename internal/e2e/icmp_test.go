package e2e

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/lab"
)

// The addresses of a host behind the client, which is a router then.
const (
	beyondAddr  = "203.0.113.2"
	beyondAddr6 = "2001:db8:113::2"
)

// routedLab is a lab whose client routes to one more namespace, by a wire that
// takes packets of mtu bytes.
func routedLab(t *testing.T, mtu int, daemonArgs ...string) (*lab.Lab, *lab.Namespace) {
	t.Helper()
	l := lab.New(t, daemonArgs...)
	beyond := lab.NewNamespace(t, "beyond")
	lab.Veth(l.Client, "wire", beyond, "eth0")
	l.Client.Address("wire", "203.0.113.1/24")
	beyond.Address("eth0", beyondAddr+"/24")
	beyond.Route("", "203.0.113.1")
	l.Client.Address("wire", "2001:db8:113::1/64")
	beyond.Address("eth0", beyondAddr6+"/64")
	beyond.Route("", "2001:db8:113::1")
	setMTU(l.Client, "wire", mtu)
	setSysctls(l.Client, "ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1")
	for _, n := range []*lab.Namespace{l.Client, beyond} { // a router asks for neighbours by its link-local address
		untilSettled(n)
	}
	return l, beyond
}

// untilSettled waits until a namespace has all its IPv6 addresses.
func untilSettled(n *lab.Namespace) {
	n.Eventually("no address is tentative", func() error {
		if got := n.Output("ip", "-6", "addr", "show", "tentative"); got != "" {
			return errors.New(got)
		}
		return nil
	})
}

func setMTU(n *lab.Namespace, device string, mtu int) {
	n.Must(func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(link, mtu)
	})
}

// beyond is a host behind the client of a routed lab.
func (f family) beyond() string {
	if f.is6() {
		return beyondAddr6
	}
	return beyondAddr
}

// TestTracerouteShowsEveryHop covers time exceeded from the gateway, which a
// program sends, and from routers, about masqueraded packets.
func TestTracerouteShowsEveryHop(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l, _ := routedLab(t, 1500, f.daemon...)
		l.OK("run", "-d", "--name=net00")
		probes := [][]string{{"traceroute"}, {"traceroute", "-I"}}
		if f.is6() {
			probes = [][]string{{"traceroute6"}}
		}
		for _, probe := range probes {
			args := slices.Concat([]string{"exec", "net00", "busybox"}, probe, []string{"-n", "-q", "1", "-w", "5", "-m", "5"})
			out := l.OK(append(args, f.beyond())...)
			var hops []string
			for _, line := range strings.Split(out, "\n")[1:] {
				hops = append(hops, strings.Fields(line)[1])
			}
			if want := []string{f.gateway, f.client, f.beyond()}; !slices.Equal(hops, want) {
				t.Errorf("hops %v, want %v:\n%s", hops, want, out)
			}
		}
	})
}

// TestPathMTU covers path MTU discovery (RFC 1191, RFC 8201) through masquerade and
// a published port: where a router finds a narrow wire, and where the host's own
// uplink is narrow, and a program has to say so.
func TestPathMTU(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		for name, narrow := range map[string]func(l *lab.Lab){
			"of a router": func(l *lab.Lab) { setMTU(l.Client, "wire", 1300) },
			"of the uplink": func(l *lab.Lab) {
				setMTU(l.Host, "eth0", 1300)
				setMTU(l.Client, "eth0", 1300)
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				l, beyond := routedLab(t, 1500, f.daemon...)
				narrow(l)
				beyond.Background(selfPath, "tcp-sink", ":7000")
				runServer(l, "net00", "tcp-give", ":80", "-p", "8080:80")
				if got := persistInside(l, "net00", "tcp-pour", port(f.beyond(), "7000"), "1000000"); got != "1000000" {
					t.Errorf("masqueraded: %q of 1000000 bytes arrived", got)
				}
				if got := persist(beyond, "tcp-take", port(f.host, "8080"), "1000000"); got != "1000000" {
					t.Errorf("published: %q of 1000000 bytes arrived", got)
				}
			})
		}
	})
}

// TestPortUnreachable covers a closed UDP port, which a client learns of at
// once: behind masquerade, behind a published port, and behind an alias.
func TestPortUnreachable(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l, _ := routedLab(t, 1500, f.daemon...)
		f.network(l, "custombridge")
		l.OK("run", "-d", "--name=net00", "--net=custombridge", "--net-alias=rr", "-p", "5353:53/udp")
		l.OK("run", "-d", "--name=net01", "--net=custombridge")
		service := port(f.vip(l, "rr"), "53")
		expectRefused(t, "masqueraded", l.Sluice("exec", "net00", selfPath, "udp-ask", port(f.beyond(), "9"), "?"))
		expectRefused(t, "published", ask(l.Client, "udp-ask", port(f.host, "5353"), "?"))
		expectRefused(t, "by an alias", l.Sluice("exec", "net01", selfPath, "udp-ask", service, "?"))
		expectRefused(t, "by an alias, from the host", ask(l.Host, "udp-ask", service, "?"))
		loopback := port(f.loopback, "5353")
		expectRefused(t, "published, from the host", ask(l.Host, "udp-ask", loopback, "?"))
		expectRefused(t, "published, from a loopback address", ask(l.Host, "udp-ask-from", port(f.loopback, "0"), loopback, "?"))
	})
}

func expectRefused(t testing.TB, what string, r lab.Result) {
	t.Helper()
	if r.Code == 0 || !strings.Contains(r.Stderr, "connection refused") {
		t.Errorf("%s: code %d, %s%s", what, r.Code, r.Stdout, r.Stderr)
	}
}
