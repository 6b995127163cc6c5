package e2e

import (
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
func routedLab(t *testing.T, mtu int) (*lab.Lab, *lab.Namespace) {
	t.Helper()
	l := lab.New(t)
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
	return l, beyond
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

// TestTracerouteShowsEveryHop covers time exceeded from the gateway, which a
// program sends, and from routers, about masqueraded packets.
func TestTracerouteShowsEveryHop(t *testing.T) {
	t.Parallel()
	l, _ := routedLab(t, 1500)
	l.OK("run", "-d", "--name=net00")
	for _, icmp := range [][]string{nil, {"-I"}} {
		args := append([]string{"exec", "net00", "busybox", "traceroute", "-n", "-q", "1", "-w", "5", "-m", "5"}, icmp...)
		out := l.OK(append(args, beyondAddr)...)
		var hops []string
		for _, line := range strings.Split(out, "\n")[1:] {
			hops = append(hops, strings.Fields(line)[1])
		}
		if want := []string{"172.17.0.1", lab.ClientAddr, beyondAddr}; !slices.Equal(hops, want) {
			t.Errorf("hops %v, want %v:\n%s", hops, want, out)
		}
	}
}

// TestPathMTU covers path MTU discovery (RFC 1191) through masquerade and a
// published port: where a router finds a narrow wire, and where the host's own
// uplink is narrow, and a program has to say so.
func TestPathMTU(t *testing.T) {
	t.Parallel()
	for name, narrow := range map[string]func(l *lab.Lab){
		"of a router": func(l *lab.Lab) { setMTU(l.Client, "wire", 1300) },
		"of the uplink": func(l *lab.Lab) {
			setMTU(l.Host, "eth0", 1300)
			setMTU(l.Client, "eth0", 1300)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, beyond := routedLab(t, 1500)
			narrow(l)
			beyond.Background(selfPath, "tcp-sink", ":7000")
			runServer(l, "net00", "tcp-give", ":80", "-p", "8080:80")
			if got := persistInside(l, "net00", "tcp-pour", beyondAddr+":7000", "1000000"); got != "1000000" {
				t.Errorf("masqueraded: %q of 1000000 bytes arrived", got)
			}
			if got := persist(beyond, "tcp-take", lab.HostAddr+":8080", "1000000"); got != "1000000" {
				t.Errorf("published: %q of 1000000 bytes arrived", got)
			}
		})
	}
}

// TestPortUnreachable covers a closed UDP port, which a client learns of at
// once: behind masquerade, behind a published port, and behind an alias.
func TestPortUnreachable(t *testing.T) {
	t.Parallel()
	l, _ := routedLab(t, 1500)
	l.OK("network", "create", "custombridge")
	l.OK("run", "-d", "--name=net00", "--net=custombridge", "--net-alias=rr", "-p", "5353:53/udp")
	l.OK("run", "-d", "--name=net01", "--net=custombridge")
	expectRefused(t, "masqueraded", l.Sluice("exec", "net00", selfPath, "udp-ask", beyondAddr+":9", "?"))
	expectRefused(t, "published", ask(l.Client, "udp-ask", lab.HostAddr+":5353", "?"))
	expectRefused(t, "by an alias", l.Sluice("exec", "net01", selfPath, "udp-ask", vip(l, "rr")+":53", "?"))
	expectRefused(t, "by an alias, from the host", ask(l.Host, "udp-ask", vip(l, "rr")+":53", "?"))
}

func expectRefused(t testing.TB, what string, r lab.Result) {
	t.Helper()
	if r.Code == 0 || !strings.Contains(r.Stderr, "connection refused") {
		t.Errorf("%s: code %d, %s%s", what, r.Code, r.Stdout, r.Stderr)
	}
}
