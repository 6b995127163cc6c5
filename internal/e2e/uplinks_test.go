package e2e

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/lab"
)

// twoUplinks is a lab whose host has a second uplink to the same client, by whose
// addresses it is known: eth0 192.0.2.0/24, eth1 203.0.113.0/24. The client's far
// address is beyond both; the host's default route is by eth0.
func twoUplinks(t *testing.T) *lab.Lab {
	t.Helper()
	l := lab.New(t)
	lab.Veth(l.Host, "eth1", l.Client, "eth1")
	l.Host.Address("eth1", "203.0.113.1/24")
	l.Client.Address("eth1", "203.0.113.2/24")
	// Either side takes what comes by the other wire, as routers do.
	setSysctls(l.Client, "ipv4/conf/all/rp_filter=0", "ipv4/conf/eth0/rp_filter=0", "ipv4/conf/eth1/rp_filter=0")
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	runServer(l, "net01", "udp-echo", ":53", "-p", "5353:53/udp")
	for _, addr := range []string{lab.HostAddr, "203.0.113.1"} {
		greeting(l.Client, addr+":8080")
		datagram(l.Client, addr+":5353", "up?")
	}
	return l
}

// TestAsymmetricPublished covers a request that comes by one uplink and whose
// answer leaves by another: the host's default route, not the way in, decides
// (RFC 1122 3.3.4.2, weak host model), and the flow is found either way.
func TestAsymmetricPublished(t *testing.T) {
	t.Parallel()
	for name, strict := range map[string]string{"rp_filter off": "0", "strict": "1", "loose": "2"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := twoUplinks(t)
			for _, device := range []string{"all", "eth0", "eth1"} {
				setSysctls(l.Host, "ipv4/conf/"+device+"/rp_filter="+strict)
			}
			in, out := tapOn(l.Client, t, "eth1"), tapOn(l.Client, t, "eth0")
			l.Client.Output("ip", "route", "add", "192.0.2.1/32", "via", "203.0.113.1", "dev", "eth1", "src", lab.FarAddr)
			if got := hostPart(t, greeting(l.Client, lab.HostAddr+":8080")); got != lab.FarAddr {
				t.Errorf("the server saw %s", got)
			}
			if got := datagram(l.Client, lab.HostAddr+":5353", "hello"); !strings.HasPrefix(got, lab.FarAddr) {
				t.Errorf("the UDP server answered %q", got)
			}
			if n := out.queued(lab.HostAddr, lab.FarAddr); n == 0 {
				t.Error("nothing left by the default route")
			}
			if n := in.queued(lab.HostAddr, lab.FarAddr); n != 0 {
				t.Errorf("%d answers left by the way in", n)
			}
		})
	}
}

// TestAsymmetricMasquerade covers answers that come in by another uplink than
// the request has left by.
func TestAsymmetricMasquerade(t *testing.T) {
	t.Parallel()
	l := twoUplinks(t)
	for _, device := range []string{"all", "eth0", "eth1"} {
		setSysctls(l.Host, "ipv4/conf/"+device+"/rp_filter=1")
	}
	l.Client.Background(selfPath, "tcp-echo", lab.FarAddr+":7")
	l.Client.Background(selfPath, "udp-echo", lab.FarAddr+":7")
	l.Client.Output("ip", "route", "add", "192.0.2.1/32", "via", "203.0.113.1", "dev", "eth1")
	out := tapOn(l.Host, t, "eth1")
	if got := hostPart(t, greetingInside(l, "net00", lab.FarAddr+":7")); got != lab.HostAddr {
		t.Errorf("the TCP server saw %s", got)
	}
	if got := persistInside(l, "net00", "udp-ask", lab.FarAddr+":7", "hello"); !strings.HasPrefix(got, lab.HostAddr+":") {
		t.Errorf("the UDP server answered %q", got)
	}
	if got := l.OK("exec", "net00", "busybox", "ping", "-c", "1", "-W", "5", lab.FarAddr); !strings.Contains(got, "1 packets received") {
		t.Errorf("ping: %s", got)
	}
	if n := out.queued(lab.FarAddr, lab.HostAddr); n < 3 {
		t.Errorf("%d answers came by the other uplink", n)
	}
}

// TestPolicyRouting covers a host that answers by the uplink whose address was
// asked for, as those with two providers do, by a rule about the source.
func TestPolicyRouting(t *testing.T) {
	t.Parallel()
	l := twoUplinks(t)
	l.Host.Output("ip", "rule", "add", "from", "203.0.113.1", "lookup", "100")
	l.Host.Output("ip", "route", "add", "default", "via", "203.0.113.2", "table", "100")
	l.Client.Output("ip", "route", "change", "203.0.113.0/24", "dev", "eth1", "src", lab.FarAddr)
	back := tapOn(l.Client, t, "eth1")
	if got := hostPart(t, greeting(l.Client, "203.0.113.1:8080")); got != lab.FarAddr {
		t.Errorf("the server saw %s", got)
	}
	if n := back.queued("203.0.113.1", lab.FarAddr); n == 0 {
		t.Error("no answer came by the second uplink")
	}
}

// TestMasqueradeSourceGoes covers an address that the host loses, as by DHCP,
// while a container's socket talks to the outside: its next datagrams have
// another source (nf_nat_masquerade does so for netfilter). The default route
// moves first, which flows outlive.
func TestMasqueradeSourceGoes(t *testing.T) {
	t.Parallel()
	l := twoUplinks(t)
	l.Client.Background(selfPath, "udp-source", lab.FarAddr+":7")
	l.Client.Background(selfPath, "tcp-echo", lab.FarAddr+":7")
	greetingInside(l, "net00", lab.FarAddr+":7")
	end := lasting(t, l.Host, lab.Binary(t), "--root", l.Root, "exec", "net00", selfPath, "udp-last", lab.FarAddr+":7", "yes")
	l.Host.Output("ip", "route", "replace", "default", "via", "203.0.113.2")
	time.Sleep(200 * time.Millisecond)
	select {
	case got := <-end:
		t.Errorf("when the route moved: %s", got)
	default:
	}
	l.Host.Output("ip", "addr", "del", "192.0.2.1/24", "dev", "eth0")
	if got := <-end; got != "203.0.113.1" {
		t.Errorf("when the address went: %s", got)
	}
}

// TestUplinksComeAndGo covers what may happen to devices and addresses of the
// host while the daemon runs, one after the other: by each of its addresses the
// host is reached, and what it has lost leads nowhere.
func TestUplinksComeAndGo(t *testing.T) {
	t.Parallel()
	l := twoUplinks(t)
	l.Client.Background(selfPath, "tcp-echo", "203.0.113.2:7")
	greeting(l.Host, "203.0.113.2:7")
	setSysctls(l.Host, "ipv4/conf/all/promote_secondaries=1")
	const first, second = "203.0.113.1:8080", "203.0.113.9:8080"
	for _, step := range []struct {
		name, commands string
		uplinks        string
		reached, lost  string
		source         string // of what is masqueraded
	}{
		{"another address", "addr add 203.0.113.9/24 dev eth1", "eth0 eth1", second, "", first},
		{"the first address goes", "addr del 203.0.113.1/24 dev eth1", "eth0 eth1", second, first, second},
		{"the link goes down and up", "link set eth1 down\nlink set eth1 up", "eth0 eth1", second, first, second},
		{"another name", "link set eth1 down\nlink set eth1 name wan9\nlink set wan9 up", "eth0 wan9", second, first, second},
		{"a name with a dot", "link set wan9 down\nlink set wan9 name wan.9\nlink set wan.9 up", "eth0 wan.9", second, first, second},
		{"the name as before", "link set wan.9 down\nlink set wan.9 name eth1\nlink set eth1 up", "eth0 eth1", second, first, second},
		{"part of a bridge", "link add br9 type bridge\nlink set br9 up\nlink set eth1 master br9\naddr flush dev eth1\naddr add 203.0.113.1/24 dev br9", "br9 eth0", first, second, first},
		{"no part of it any more", "link set eth1 nomaster\naddr del 203.0.113.1/24 dev br9\naddr add 203.0.113.9/24 dev eth1", "br9 eth0 eth1", second, first, second},
		{"the bridge goes", "link del br9", "eth0 eth1", second, first, second},
		{"another hardware address", "link set eth1 address 02:00:00:00:00:09", "eth0 eth1", second, first, second},
	} {
		t.Log(step.name)
		l.Host.Output("sh", "-c", "ip -batch - <<E\n"+step.commands+"\nE")
		expectUplinks(t, l, step.name, step.uplinks)
		l.Client.Output("ip", "neigh", "flush", "dev", "eth1")
		greeting(l.Client, step.reached)
		if got := hostPart(t, greetingInside(l, "net00", "203.0.113.2:7")); got != hostPart(t, step.source) {
			t.Errorf("%s: the outside saw %s", step.name, got)
		}
		if step.lost != "" {
			if r := ask(l.Client, "tcp-ask", step.lost); r.Code == 0 {
				t.Errorf("%s: %s is reached: %s", step.name, step.lost, r.Stdout)
			}
		}
	}
	l.Host.Output("ip", "link", "del", "eth1")
	expectUplinks(t, l, "deleted", "eth0")
	lab.Veth(l.Host, "eth1", l.Client, "eth1")
	l.Host.Address("eth1", "203.0.113.1/24")
	l.Client.Address("eth1", "203.0.113.2/24")
	expectUplinks(t, l, "made anew", "eth0 eth1")
	greeting(l.Client, first)
	greeting(l.Client, lab.HostAddr+":8080")
}

func expectUplinks(t *testing.T, l *lab.Lab, when, want string) {
	t.Helper()
	l.Host.Eventually(when+": the uplinks are "+want, func() error {
		got := systemInfo(l).Uplinks
		if slices.Sort(got); strings.Join(got, " ") != want {
			return errors.New(strings.Join(got, " "))
		}
		return nil
	})
}

// udpSource answers every datagram to ADDR:PORT with the address that it came from.
func udpSource(args []string) error {
	conn, err := net.ListenPacket("udp4", args[0])
	if err != nil {
		return err
	}
	for {
		_, from, err := conn.ReadFrom(make([]byte, 64))
		if err != nil {
			return err
		}
		_, _ = conn.WriteTo([]byte(from.(*net.UDPAddr).IP.String()), from)
	}
}
