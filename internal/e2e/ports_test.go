package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/lab"
)

// TestPublishWhileRunning changes the ports of a container that runs.
func TestPublishWhileRunning(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	greeting(l.Client, lab.HostAddr+":8080")
	before := inspect(l, "net00").State.Pid
	if got := l.OK("publish", "net00", "9090:80", "5353:53/udp"); got != "53/udp -> 0.0.0.0:5353\n80/tcp -> 0.0.0.0:9090" {
		t.Errorf("publish printed %q", got)
	}
	greeting(l.Client, lab.HostAddr+":9090")
	greeting(l.Host, "127.0.0.1:9090")
	if got := l.OK("port", "net00"); got != "53/udp -> 0.0.0.0:5353\n80/tcp -> 0.0.0.0:8080\n80/tcp -> 0.0.0.0:9090" {
		t.Errorf("port: %q", got)
	}
	if got := l.OK("port", "net00", "80"); got != "0.0.0.0:8080\n0.0.0.0:9090" {
		t.Errorf("port net00 80: %q", got)
	}

	conversation := newTalk(t, l.Client, lab.HostAddr+":8080")
	l.OK("unpublish", "net00", "9090:80")
	expectUnreached(t, l.Client, lab.HostAddr+":9090")
	expectUnreached(t, l.Host, "127.0.0.1:9090")
	conversation.say("by the port that stays")
	l.OK("unpublish", "net00", "80")
	expectUnreached(t, l.Client, lab.HostAddr+":8080")
	if after := inspect(l, "net00").State.Pid; after != before {
		t.Error("the container was started anew")
	}

	l.OK("publish", "net00", "8081:80")
	l.OK("stop", "net00")
	l.OK("start", "net00")
	greeting(l.Client, lab.HostAddr+":8081")
	expectUnreached(t, l.Client, lab.HostAddr+":8080")
}

// TestUnpublishLasts covers ports that were chosen for the container: what was
// withdrawn does not come back with its next start.
func TestUnpublishLasts(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("run", "-d", "--name=net00", "-p", "80", "-p", "8600-8610:70", "-p", "127.0.0.1:8700:60", "-p", "90-92")
	chosen := strings.TrimPrefix(l.OK("port", "net00", "80"), "0.0.0.0:")
	for _, c := range []struct{ port, printed string }{
		{chosen + ":80", "80/tcp -> 0.0.0.0:" + chosen},
		{"8600:70", "70/tcp -> 0.0.0.0:8600"},
		{"60", "60/tcp -> 127.0.0.1:8700"},
		{"91", "91/tcp -> " + l.OK("port", "net00", "91")},
	} {
		if got := l.OK("unpublish", "net00", c.port); got != c.printed {
			t.Errorf("unpublish %s printed %q, want %q", c.port, got, c.printed)
		}
	}
	l.OK("stop", "-t", "0", "net00")
	l.OK("start", "net00")
	for line := range strings.Lines(l.OK("port", "net00")) {
		if !strings.HasPrefix(line, "90/tcp") && !strings.HasPrefix(line, "92/tcp") {
			t.Errorf("published again: %s", line)
		}
	}
}

// TestUnpublishEndsConnections: what was withdrawn serves nobody any more.
func TestUnpublishEndsConnections(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	runServer(l, "net00", "udp-echo", ":53", "-p", "5353:53/udp")
	datagram(l.Client, lab.HostAddr+":5353", "up?")
	l.OK("unpublish", "net00", "5353:53/udp")
	if r := ask(l.Client, "udp-ask", lab.HostAddr+":5353", "still?"); r.Code == 0 {
		t.Errorf("answered: %s", r.Stdout)
	}
}

// TestUDPFollowsTheContainer covers a client whose socket outlives a server:
// its flow must lead to the new one, not to where the old one was.
func TestUDPFollowsTheContainer(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	for range 3 {
		runServer(l, "net00", "udp-echo", ":53", "-p", "5353:53/udp")
		got := persist(l.Client, "udp-ask-from", lab.ClientAddr+":40000", lab.HostAddr+":5353", "hello")
		if !strings.HasPrefix(got, lab.ClientAddr+":40000 ") {
			t.Errorf("the server saw %q", got)
		}
		l.OK("rm", "-f", "net00")
		l.OK("run", "-d") // takes the old address
	}
}

func TestPortRange(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	runServer(l, "net00", "tcp-echo", ":81", "-p", "9000-9010:80-90")
	greeting(l.Client, lab.HostAddr+":9001")
	expectUnreached(t, l.Client, lab.HostAddr+":9000")
	if got := len(natRules(l)); got != 2 {
		t.Errorf("a range is %d rules, want one besides masquerade", got-1)
	}
	if got := l.OK("ps", "--format", "{{.Ports}}"); got != "0.0.0.0:9000-9010->80-90/tcp" {
		t.Errorf("ps: %q", got)
	}
	if got := inspect(l, "net00").NetworkSettings.Ports["85/tcp"]; len(got) != 1 || got[0].HostPort != "9005" {
		t.Errorf("inspect, 85/tcp: %v", got)
	}
}

// TestPortOfOneAddress covers a host address before the port.
func TestPortOfOneAddress(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		l.Host.Address("eth0", f.second+f.prefix)
		runServer(l, "first", "tcp-echo", ":80", "-p", port(f.host, "8080:80"))
		f.runOnSecond(l, "second", "tcp-echo", ":80", "-p", port(f.second, "8080:80"))
		runServer(l, "local", "tcp-echo", ":80", "-p", port(f.loopback, "8081:80"))
		for _, name := range []string{"first", "second"} { // directly: what is refused is a flow, too
			greeting(l.Host, port(f.addressOf(l, name, "bridge"), "80"))
		}
		greeting(l.Client, port(f.host, "8080"))
		greeting(l.Client, port(f.second, "8080"))
		greeting(l.Host, port(f.loopback, "8081"))
		expectUnreached(t, l.Client, port(f.host, "8081"))
		expectUnreached(t, l.Host, port(f.loopback, "8080"))
		for _, name := range []string{"first", "second"} {
			if got := natRule(l, "publish", name).Packets; got != 1 {
				t.Errorf("%s got %d flows, want 1", name, got)
			}
		}
	})
}

// TestIsolation covers what may not be reached: not from outside, by a route to the
// network or to its gateway, and not from another network.
func TestIsolation(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		f.network(l, "custombridge")
		runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
		runServer(l, "net01", "tcp-echo", ":80", "--network=custombridge")
		greeting(l.Client, port(f.host, "8080"))
		greeting(l.Host, port(f.inOther, "80")) // the host reaches its containers

		l.Client.Route(f.inside, f.host)
		for _, addr := range []string{
			port(f.first, "80"), port(f.first, "8080"), port(f.inOther, "80"), port(f.gateway, "8080"), port(f.other, "80"),
		} {
			expectUnreached(t, l.Client, addr)
		}
		for _, addr := range []string{port(f.inOther, "80"), port(f.other, "8080")} {
			if r := l.Sluice("exec", "net00", selfPath, "tcp-ask", addr); r.Code == 0 {
				t.Errorf("net00 reached %s", addr)
			}
		}
		drops := systemInfo(l).Drops
		if drops["unpublished"] == 0 || drops["isolation"] == 0 {
			t.Errorf("drops: %v", drops)
		}
		if got := hostPart(t, l.OK("exec", "net01", selfPath, "tcp-ask", port(f.host, "8080"))); got != f.inOther {
			t.Errorf("by the published port, the server saw %s", got)
		}
	})
}

// TestHostAddressesFollow covers an address and a device that the host gains and
// loses.
func TestHostAddressesFollow(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
		greeting(l.Client, port(f.host, "8080"))
		l.Host.Address("eth0", f.second+f.prefix)
		greeting(l.Client, port(f.second, "8080"))
		f.runOnSecond(l, "net01", "tcp-echo", ":80", "-p", port(f.second, "8081:80"))
		greeting(l.Client, port(f.second, "8081"))
		expectUnreached(t, l.Client, port(f.host, "8081"))
		l.Host.Output("ip", "addr", "del", f.second+f.prefix, "dev", "eth0")
		expectInvariants(l)
		expectUnreached(t, l.Client, port(f.second, "8080"))
		l.Host.Address("eth0", f.second+f.prefix)
		greeting(l.Client, port(f.second, "8081"))

		lab.Veth(l.Host, "eth1", l.Client, "eth1")
		l.Host.Address("eth1", f.vpn+f.prefix)
		l.Client.Address("eth1", f.vpnPeer+f.prefix)
		if got := hostPart(t, greeting(l.Client, port(f.vpn, "8080"))); got != f.vpnPeer {
			t.Errorf("by the new uplink the server saw %s", got)
		}
		l.Host.Output("ip", "link", "del", "eth1")
		greeting(l.Client, port(f.host, "8080"))
	})
}

// TestOldKernelsWay does rows 2 to 4 with programs attached by clsact.
func TestOldKernelsWay(t *testing.T) {
	t.Parallel()
	l := lab.New(t, "--attach", "clsact")
	if got := systemInfo(l).AttachMode; got != "clsact" {
		t.Fatalf("attached by %s", got)
	}
	l.Client.Background(selfPath, "tcp-echo", lab.FarAddr+":7")
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	if got := hostPart(t, greeting(l.Client, lab.HostAddr+":8080")); got != lab.ClientAddr {
		t.Errorf("the server saw %s", got)
	}
	greeting(l.Host, "127.0.0.1:8080")
	greeting(l.Host, "[::1]:8080")
	if got := hostPart(t, strings.TrimSpace(l.OK("exec", "net00", selfPath, "tcp-ask", lab.FarAddr+":7"))); got != lab.HostAddr {
		t.Errorf("the server outside saw %s", got)
	}
	if natRule(l, "publish", "net00").Packets < 3 {
		t.Errorf("rules: %+v", natRules(l))
	}
	expectInvariants(l)
	l.StopDaemon(9)
	greeting(l.Client, lab.HostAddr+":8080")
	l.StartDaemon("--attach", "clsact")
	greeting(l.Client, lab.HostAddr+":8080")
	expectInvariants(l)
	l.OK("system", "reset", "--force")
	if got := l.Host.Output("tc", "filter", "show", "dev", "eth0", "ingress"); got != "" {
		t.Errorf("a filter is left: %s", got)
	}
}

// TestUnspecifiedAddress covers clients on the host that connect to 0.0.0.0 and
// to ::, which Linux takes for its loopback addresses.
func TestUnspecifiedAddress(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	for i, host := range []string{"", "127.0.0.1:"} {
		tcp, udp := fmt.Sprint(8080+i), fmt.Sprint(5353+i)
		runServer(l, "tcp"+tcp, "tcp-echo", ":80", "-p", host+tcp+":80")
		runServer(l, "udp"+udp, "udp-echo", ":53", "-p", host+udp+":53/udp")
		for addr, peer := range map[string]string{"0.0.0.0": "127.0.0.1", "[::]": "[::1]"} {
			greeting(l.Host, addr+":"+tcp)
			if got := ask(l.Host, "tcp-peer", addr+":"+tcp); got.Stdout != peer+":"+tcp+"\n" {
				t.Errorf("%s:%s: the peer is called %+v", addr, tcp, got)
			}
			if got := datagram(l.Host, addr+":"+udp, "hello"); !strings.HasSuffix(got, " hello") {
				t.Errorf("%s:%s: %q", addr, udp, got)
			}
		}
		if got := persist(l.Host, "udp-ask-from", "127.0.0.1:0", "0.0.0.0:"+udp, "hello"); !strings.HasSuffix(got, " hello") {
			t.Errorf("0.0.0.0:%s, bound: %q", udp, got)
		}
		if got := persist(l.Host, "udp-peer", "0.0.0.0:"+udp); got != "127.0.0.1:"+udp {
			t.Errorf("0.0.0.0:%s, unconnected: answered by %s", udp, got)
		}
	}
	expectUnreached(t, l.Host, "0.0.0.0:8099")
}
