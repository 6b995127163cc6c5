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

// twoUplinks is a lab whose host has a second uplink to the same client, eth1, by
// the addresses of the family's vpn. The client's far address is beyond both; the
// host's default route is by eth0.
func twoUplinks(t *testing.T, f family) *lab.Lab {
	t.Helper()
	l := f.lab(t)
	f.joinAgain(l)
	// Either side takes what comes by the other wire, as routers do.
	setSysctls(l.Client, "ipv4/conf/all/rp_filter=0", "ipv4/conf/eth0/rp_filter=0", "ipv4/conf/eth1/rp_filter=0")
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	runServer(l, "net01", "udp-echo", ":53", "-p", "5353:53/udp")
	for _, addr := range []string{f.host, f.vpn} {
		greeting(l.Client, port(addr, "8080"))
		datagram(l.Client, port(addr, "5353"), "up?")
	}
	return l
}

// joinAgain connects host and client by another wire.
func (f family) joinAgain(l *lab.Lab) {
	l.Helper()
	lab.Veth(l.Host, "eth1", l.Client, "eth1")
	l.Host.Address("eth1", f.vpn+f.prefix)
	l.Client.Address("eth1", f.vpnPeer+f.prefix)
}

// TestAsymmetricPublished covers a request that comes by one uplink and whose
// answer leaves by another: the host's default route, not the way in, decides
// (RFC 1122 3.3.4.2, weak host model), and the flow is found either way.
func TestAsymmetricPublished(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		filters := map[string]string{"rp_filter off": "0", "strict": "1", "loose": "2"}
		if f.is6() {
			filters = map[string]string{"without rp_filter": "0"} // IPv6 has none
		}
		for name, filter := range filters {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				l := twoUplinks(t, f)
				for _, device := range []string{"all", "eth0", "eth1"} {
					setSysctls(l.Host, "ipv4/conf/"+device+"/rp_filter="+filter)
				}
				in, out := tapOn(l.Client, t, "eth1"), tapOn(l.Client, t, "eth0")
				l.Client.Output("ip", "route", "add", whole(f.host), "via", f.vpn, "dev", "eth1", "src", f.far)
				if got := hostPart(t, greeting(l.Client, port(f.host, "8080"))); got != f.far {
					t.Errorf("the server saw %s", got)
				}
				if got := datagram(l.Client, port(f.host, "5353"), "hello"); !strings.HasPrefix(got, strings.TrimSuffix(port(f.far, ""), ":")) {
					t.Errorf("the UDP server answered %q", got)
				}
				if n := out.queued(f.host, f.far); n == 0 {
					t.Error("nothing left by the default route")
				}
				if n := in.queued(f.host, f.far); n != 0 {
					t.Errorf("%d answers left by the way in", n)
				}
			})
		}
	})
}

// TestAsymmetricMasquerade covers answers that come in by another uplink than
// the request has left by.
func TestAsymmetricMasquerade(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := twoUplinks(t, f)
		for _, device := range []string{"all", "eth0", "eth1"} {
			setSysctls(l.Host, "ipv4/conf/"+device+"/rp_filter=1")
		}
		l.Client.Background(selfPath, "tcp-echo", port(f.far, "7"))
		l.Client.Background(selfPath, "udp-echo", port(f.far, "7"))
		l.Client.Output("ip", "route", "add", whole(f.host), "via", f.vpn, "dev", "eth1")
		out := tapOn(l.Host, t, "eth1")
		if got := hostPart(t, greetingInside(l, "net00", port(f.far, "7"))); got != f.host {
			t.Errorf("the TCP server saw %s", got)
		}
		if got := persistInside(l, "net00", "udp-ask", port(f.far, "7"), "hello"); hostPart(t, strings.TrimSuffix(got, " hello")) != f.host {
			t.Errorf("the UDP server answered %q", got)
		}
		expectPing(l, "net00", f.far)
		if n := out.queued(f.far, f.host); n < 3 {
			t.Errorf("%d answers came by the other uplink", n)
		}
	})
}

// TestPolicyRouting covers a host that answers by the uplink whose address was
// asked for, as those with two providers do, by a rule about the source.
func TestPolicyRouting(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := twoUplinks(t, f)
		l.Host.Output("ip", f.flag(), "rule", "add", "from", f.vpn, "lookup", "100")
		l.Host.Output("ip", f.flag(), "route", "add", "default", "via", f.vpnPeer, "table", "100")
		l.Client.Output("ip", "route", "add", whole(f.vpn), "dev", "eth1", "src", f.far)
		back := tapOn(l.Client, t, "eth1")
		if got := hostPart(t, greeting(l.Client, port(f.vpn, "8080"))); got != f.far {
			t.Errorf("the server saw %s", got)
		}
		if n := back.queued(f.vpn, f.far); n == 0 {
			t.Error("no answer came by the second uplink")
		}
	})
}

// TestMasqueradeSourceGoes covers an address that the host loses, as by DHCP,
// while a container's socket talks to the outside: its next datagrams have
// another source (nf_nat_masquerade does so for netfilter). The default route
// moves first, which flows outlive.
func TestMasqueradeSourceGoes(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := twoUplinks(t, f)
		l.Client.Background(selfPath, "udp-source", port(f.far, "7"))
		l.Client.Background(selfPath, "tcp-echo", port(f.far, "7"))
		greetingInside(l, "net00", port(f.far, "7"))
		end := lasting(t, l.Host, lab.Binary(t), "--root", l.Root, "exec", "net00", selfPath, "udp-last", port(f.far, "7"), "yes")
		l.Host.Output("ip", f.flag(), "route", "replace", "default", "via", f.vpnPeer)
		time.Sleep(200 * time.Millisecond)
		select {
		case got := <-end:
			t.Errorf("when the route moved: %s", got)
		default:
		}
		l.Host.Output("ip", "addr", "del", f.host+f.prefix, "dev", "eth0")
		if got := <-end; got != f.vpn {
			t.Errorf("when the address went: %s", got)
		}
	})
}

// TestUplinksComeAndGo covers what may happen to devices and addresses of the
// host while the daemon runs, one after the other: by each of its addresses the
// host is reached, and what it has lost leads nowhere.
func TestUplinksComeAndGo(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := twoUplinks(t, f)
		l.Client.Background(selfPath, "tcp-echo", port(f.vpnPeer, "7"))
		greeting(l.Host, port(f.vpnPeer, "7"))
		setSysctls(l.Host, "ipv4/conf/all/promote_secondaries=1", "ipv6/conf/all/keep_addr_on_down=1")
		first, second := f.vpn, f.vpnSecond
		preferred := first // of two that are as good as each other for RFC 6724
		if f.is6() {
			preferred = second // Linux tries the newest first
		}
		commands := strings.NewReplacer("FIRST", first+f.prefix, "SECOND", second+f.prefix)
		for _, step := range []struct {
			name, commands string
			uplinks        string
			reached, lost  string
			source         string // of what is masqueraded
		}{
			{"another address", "addr add SECOND dev eth1 nodad", "eth0 eth1", second, "", preferred},
			{"the first address goes", "addr del FIRST dev eth1", "eth0 eth1", second, first, second},
			{"the link goes down and up", "link set eth1 down\nlink set eth1 up", "eth0 eth1", second, first, second},
			{"another name", "link set eth1 down\nlink set eth1 name wan9\nlink set wan9 up", "eth0 wan9", second, first, second},
			{"a name with a dot", "link set wan9 down\nlink set wan9 name wan.9\nlink set wan.9 up", "eth0 wan.9", second, first, second},
			{"the name as before", "link set wan.9 down\nlink set wan.9 name eth1\nlink set eth1 up", "eth0 eth1", second, first, second},
			{"part of a bridge", "link add br9 type bridge\nlink set br9 up\nlink set eth1 master br9\naddr flush dev eth1\naddr add FIRST dev br9 nodad", "br9 eth0", first, second, first},
			{"no part of it any more", "link set eth1 nomaster\naddr del FIRST dev br9\naddr add SECOND dev eth1 nodad", "br9 eth0 eth1", second, first, second},
			{"the bridge goes", "link del br9", "eth0 eth1", second, first, second},
			{"another hardware address", "link set eth1 address 02:00:00:00:00:09", "eth0 eth1", second, first, second},
		} {
			t.Log(step.name)
			l.Host.Output("sh", "-c", "ip -batch - <<E\n"+commands.Replace(step.commands)+"\nE")
			expectUplinks(t, l, step.name, step.uplinks)
			l.Client.Output("ip", "neigh", "flush", "dev", "eth1")
			greeting(l.Client, port(step.reached, "8080"))
			if got := hostPart(t, greetingInside(l, "net00", port(f.vpnPeer, "7"))); got != step.source {
				t.Errorf("%s: the outside saw %s", step.name, got)
			}
			if step.lost != "" {
				if r := ask(l.Client, "tcp-ask", port(step.lost, "8080")); r.Code == 0 {
					t.Errorf("%s: %s is reached: %s", step.name, step.lost, r.Stdout)
				}
			}
		}
		l.Host.Output("ip", "link", "del", "eth1")
		expectUplinks(t, l, "deleted", "eth0")
		f.joinAgain(l)
		expectUplinks(t, l, "made anew", "eth0 eth1")
		greeting(l.Client, port(first, "8080"))
		greeting(l.Client, port(f.host, "8080"))
	})
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
	conn, err := net.ListenPacket("udp", args[0])
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
