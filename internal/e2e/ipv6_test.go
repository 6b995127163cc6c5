package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/lab"
)

// newDualLab is a lab with the network dual, which has 172.20.0.0/16 and
// fd00:20::/64.
func newDualLab(t *testing.T, daemonArgs ...string) *lab.Lab {
	t.Helper()
	l := lab.New(t, daemonArgs...)
	l.OK("network", "create", "--ipv6", "--subnet=172.20.0.0/16", "--subnet=fd00:20::/64", "dual")
	return l
}

// vip6 is the IPv6 address behind which an alias's members take turns.
func vip6(l *lab.Lab, alias string) string {
	l.Helper()
	_, prefix, _ := strings.Cut(natRule(l, "alias", alias).Destination, ",")
	return netip.MustParsePrefix(prefix).Addr().String()
}

// expectPing sends one echo request from a container.
func expectPing(l *lab.Lab, container, addr string) {
	l.Helper()
	if out := l.OK("exec", container, "busybox", "ping", "-c", "1", "-W", "5", addr); !strings.Contains(out, "1 packets received") {
		l.Errorf("ping %s from %s: %s", addr, container, out)
	}
}

func TestRow05InspectIPv6(t *testing.T) {
	t.Parallel()
	l := newDualLab(t)
	l.OK("run", "-d", "--name=net00", "--net=dual", "-p", "8080:80", "-p", "[::]:5353:53/udp", "-p", lab.HostAddr+":9000:90")
	l.OK("run", "-d", "--name=asked", "--net=dual", "--ip6=fd00:20::beef")
	settings := inspect(l, "net00").NetworkSettings
	dual := settings.Networks["dual"]
	if dual.GlobalIPv6Address != "fd00:20::2" || dual.GlobalIPv6PrefixLen != 64 || dual.IPv6Gateway != "fd00:20::1" || dual.IPAddress != "172.20.0.2" {
		t.Errorf("endpoint: %+v", dual)
	}
	for port, want := range map[string][]api.PortBinding{
		"80/tcp": {{HostIP: "0.0.0.0", HostPort: "8080"}, {HostIP: "::", HostPort: "8080"}},
		"53/udp": {{HostIP: "::", HostPort: "5353"}},
		"90/tcp": {{HostIP: lab.HostAddr, HostPort: "9000"}},
	} {
		if got := settings.Ports[port]; !slices.Equal(got, want) {
			t.Errorf("%s is published at %v, want %v", port, got, want)
		}
	}
	if got := inspect(l, "net00").HostConfig.PortBindings["80/tcp"]; !slices.Equal(got, []api.PortBinding{{HostPort: "8080"}}) {
		t.Errorf("PortBindings: %v", got)
	}
	asked := inspect(l, "asked").NetworkSettings.Networks["dual"]
	if asked.GlobalIPv6Address != "fd00:20::beef" || asked.IPAMConfig == nil || asked.IPAMConfig.IPv6Address != "fd00:20::beef" {
		t.Errorf("--ip6: %+v", asked)
	}
	if got := l.OK("port", "net00"); got != "53/udp -> [::]:5353\n80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n90/tcp -> "+lab.HostAddr+":9000" {
		t.Errorf("port: %q", got)
	}
	if got := l.OK("ps", "--filter=name=net00", "--format={{.Ports}}"); got != "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, [::]:5353->53/udp, "+lab.HostAddr+":9000->90/tcp" {
		t.Errorf("ps: %q", got)
	}
	network := jsonOf[[]api.Network](l, "network", "inspect", "dual")[0]
	want := []api.IPAMConfig{{Subnet: "172.20.0.0/16", Gateway: "172.20.0.1"}, {Subnet: "fd00:20::/64", Gateway: "fd00:20::1"}}
	if !network.EnableIPv6 || !slices.Equal(network.IPAM.Config, want) {
		t.Errorf("network: %+v", network)
	}
	if got := network.Containers[inspect(l, "net00").ID]; got.IPv6Address != "fd00:20::2/64" || got.IPv4Address != "172.20.0.2/16" {
		t.Errorf("in the network: %+v", got)
	}

	// Without IPv6 there is none of it.
	l.OK("run", "-d", "--name=plain", "-p", "8090:80")
	plain := inspect(l, "plain").NetworkSettings
	if got := plain.Ports["80/tcp"]; !slices.Equal(got, []api.PortBinding{{HostIP: "0.0.0.0", HostPort: "8090"}}) || plain.Networks["bridge"].GlobalIPv6Address != "" {
		t.Errorf("without IPv6: %v, %+v", got, plain.Networks["bridge"])
	}
	if got := l.OK("exec", "plain", "ip", "-6", "addr", "show", "dev", "eth0"); got != "" {
		t.Errorf("eth0 of a container without IPv6: %s", got)
	}
}

func TestRow06DefaultSubnets6(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	subnets := map[string]bool{}
	for _, name := range []string{"one", "two"} {
		l.OK("network", "create", "--ipv6", name)
		config := jsonOf[[]api.Network](l, "network", "inspect", name)[0].IPAM.Config
		subnet := netip.MustParsePrefix(config[1].Subnet)
		if !netip.MustParsePrefix("fd00::/8").Contains(subnet.Addr()) || subnet.Bits() != 64 || config[1].Gateway != subnet.Addr().Next().String() {
			t.Errorf("%s has %+v", name, config)
		}
		subnets[netip.PrefixFrom(subnet.Addr(), 48).Masked().String()] = true
	}
	if len(subnets) != 1 {
		t.Errorf("the subnets have no prefix in common: %v", subnets)
	}
}

func TestRow08JoinNetworkIPv6(t *testing.T) {
	t.Parallel()
	l := newDualLab(t)
	runServer(l, "net01", "tcp-echo", ":80", "--net=dual")
	id := l.OK("run", "-d", "--name=net02", "--net=dual")
	got := l.OK("exec", "net02", "ip", "-br", "-6", "addr", "show", "dev", "eth0")
	for _, want := range []string{"fd00:20::3/64", "fe80::42:acff:fe14:3/64"} {
		if !strings.Contains(got, want) {
			t.Errorf("eth0 has %s, and not %s", got, want)
		}
	}
	expectPing(l, "net02", "fd00:20::2")
	expectPing(l, "net02", "fd00:20::1")
	expectPing(l, "net02", "fe80::42:acff:fe14:2%eth0")
	if got := hostPart(t, greetingInside(l, "net02", "[fd00:20::2]:80")); got != "fd00:20::3" {
		t.Errorf("net01 saw %s", got)
	}
	if got := hostPart(t, greeting(l.Host, "[fd00:20::2]:80")); got != "fd00:20::1" {
		t.Errorf("from the host net01 saw %s", got)
	}
	if got := resolve(l, "net02", "udp", "net01", "AAAA", "0"); got != "NOERROR fd00:20::2" {
		t.Errorf("AAAA of net01: %q", got)
	}
	if got := resolve(l, "net02", "udp", "2."+strings.Repeat("0.", 23)+"0.2.0.0.0.0.d.f.ip6.arpa", "PTR", "0"); got != "NOERROR net01.dual." {
		t.Errorf("PTR of net01: %q", got)
	}
	expectPing(l, "net02", "net01")
	for _, line := range []string{"172.20.0.3\t" + id[:12], "fd00:20::3\t" + id[:12]} {
		if hosts := hostsOf(l, "net02"); !slices.Contains(hosts, line) {
			t.Errorf("%q is not in %q", line, hosts)
		}
	}
	// A freed address is handed out again, and those who knew its old owner find
	// the new one: the MAC address is another, for the IPv4 address is.
	l.OK("rm", "-f", "net01")
	l.OK("run", "-d", "--name=taker", "--net=dual", "--ip=172.20.9.9")
	expectPing(l, "net02", "fd00:20::2")
	expectInvariants(l)
}

func TestRow12LinkIPv6(t *testing.T) {
	t.Parallel()
	l := newDualLab(t)
	db := l.OK("run", "-d", "--name=db00", "--net=dual")[:12]
	l.OK("run", "-d", "--name=web00", "--net=dual", "--link=db00:db")
	expectBoth := func(addrs ...string) {
		t.Helper()
		var want []string
		for _, addr := range addrs {
			want = append(want, addr+"\tdb "+db+" db00")
		}
		got := slices.DeleteFunc(hostsOf(l, "web00"), func(line string) bool { return !strings.HasSuffix(line, " db00") })
		if !slices.Equal(got, want) {
			t.Errorf("the link's lines are %q, want %q", got, want)
		}
	}
	expectBoth("172.20.0.2", "fd00:20::2")
	l.OK("stop", "-t", "0", "db00")
	expectBoth()
	l.OK("run", "-d", "--name=taker", "--net=dual")
	l.OK("start", "db00")
	expectBoth("172.20.0.4", "fd00:20::4")
}

func TestRow02PublishedPortIPv6(t *testing.T) {
	t.Parallel()
	l := newDualLab(t)
	runServer(l, "net00", "tcp-echo", ":80", "--net=dual", "-p", "8080:80")
	runServer(l, "udp00", "udp-echo", ":53", "--net=dual", "-p", "5353:53/udp")
	runServer(l, "only6", "tcp-echo", ":80", "--net=dual", "-p", "[::]:8081:80", "-p", "["+lab.HostAddr6+"]:8082:80", "-p", "[::1]:8083:80")
	runServer(l, "plain", "tcp-echo", ":80", "-p", "8090:80")

	t.Run("from outside with the client's own address", func(t *testing.T) {
		for _, number := range []string{"8080", "8081", "8082"} {
			if got := hostPart(t, greeting(l.Client, port(lab.HostAddr6, number))); got != lab.ClientAddr6 {
				t.Errorf("the server behind %s saw %s", number, got)
			}
		}
		if got := hostPart(t, greeting(l.Client, port(lab.HostAddr, "8080"))); got != lab.ClientAddr {
			t.Errorf("by IPv4 the server saw %s", got)
		}
		if got := datagram(l.Client, port(lab.HostAddr6, "5353"), "hello"); !strings.HasPrefix(got, "["+lab.ClientAddr6+"]:") || !strings.HasSuffix(got, " hello") {
			t.Errorf("the UDP server answered %q", got)
		}
		for _, addr := range []string{port(lab.HostAddr6, "8083"), port(lab.HostAddr, "8081"), port(lab.HostAddr6, "8090"), port("fd00:20::2", "80")} {
			expectUnreached(t, l.Client, addr)
		}
	})
	t.Run("from the host itself", func(t *testing.T) {
		for _, host := range []string{"::1", lab.HostAddr6, "fd00:20::1"} {
			if got := hostPart(t, greeting(l.Host, port(host, "8080"))); got != "fd00:20::1" && got != lab.HostAddr6 {
				t.Errorf("by %s the server saw %s", host, got)
			}
			if got := datagram(l.Host, port(host, "5353"), "hi"); !strings.HasSuffix(got, " hi") {
				t.Errorf("by %s: %q", host, got)
			}
		}
		greeting(l.Host, port("::1", "8083"))
		greeting(l.Host, port("::1", "8090")) // by IPv4, which plain alone has
	})
	t.Run("from another container through the host", func(t *testing.T) {
		l.OK("run", "-d", "--name=other", "--net=dual")
		if got := hostPart(t, greetingInside(l, "other", port(lab.HostAddr6, "8080"))); got != addressOf6(l, "other", "dual") {
			t.Errorf("the server saw %s", got)
		}
		l.OK("network", "create", "--ipv6", "apart")
		l.OK("run", "-d", "--name=apart", "--net=apart")
		if got := hostPart(t, greetingInside(l, "apart", port(lab.HostAddr6, "8080"))); got != addressOf6(l, "apart", "apart") {
			t.Errorf("from another network the server saw %s", got)
		}
		if r := l.Sluice("exec", "apart", selfPath, "tcp-ask", port("fd00:20::2", "80")); r.Code == 0 {
			t.Errorf("another network's container was reached: %s", r.Stdout)
		}
	})
	t.Run("from the container itself", func(t *testing.T) {
		if got := hostPart(t, greetingInside(l, "net00", port(lab.HostAddr6, "8080"))); got != "fd00:20::1" {
			t.Errorf("the server saw %s", got)
		}
	})
	t.Run("withdrawn for one family", func(t *testing.T) {
		l.OK("unpublish", "net00", "[::]:8080:80")
		expectUnreached(t, l.Client, port(lab.HostAddr6, "8080"))
		greeting(l.Client, port(lab.HostAddr, "8080"))
		l.OK("stop", "-t", "0", "net00")
		l.OK("start", "net00")
		greeting(l.Client, port(lab.HostAddr, "8080"))
		expectUnreached(t, l.Client, port(lab.HostAddr6, "8080"))
		l.OK("publish", "net00", "[::]:8080:80")
		greeting(l.Client, port(lab.HostAddr6, "8080"))
	})
	expectInvariants(l)
}

// addressOf6 is addressOf for IPv6.
func addressOf6(l *lab.Lab, name, network string) string {
	l.Helper()
	settings := inspect(l, name).NetworkSettings.Networks[network]
	if settings == nil {
		l.Fatalf("%s is not in the network %s", name, network)
	}
	return settings.GlobalIPv6Address
}

func TestRow03NATTableIPv6(t *testing.T) {
	t.Parallel()
	l := newDualLab(t)
	runServer(l, "net00", "tcp-echo", ":80", "--net=dual", "-p", "[::]:8080:80")
	greeting(l.Client, port(lab.HostAddr6, "8080"))
	before := natRule(l, "publish", "net00")
	for range 3 {
		greeting(l.Client, port(lab.HostAddr6, "8080"))
	}
	after := natRule(l, "publish", "net00")
	if after.Packets != before.Packets+3 || after.TotalPackets <= before.TotalPackets+6 {
		t.Errorf("counters: before %+v, after %+v", before, after)
	}
	if after.To != "[fd00:20::2]:80" || after.Source != "::/0" || after.Destination != "::/0" {
		t.Errorf("the rule reads %+v", after)
	}
	if masquerade := natRule(l, "masquerade", "dual"); masquerade.Source != "172.20.0.0/16,fd00:20::/64" || masquerade.Destination != "!172.20.0.0/16,!fd00:20::/64" {
		t.Errorf("the rule reads %+v", masquerade)
	}
}

func TestRow04MasqueradeIPv6(t *testing.T) {
	t.Parallel()
	l := newDualLab(t)
	for _, program := range []string{"tcp-echo", "udp-echo"} {
		l.Client.Background(selfPath, program, port(lab.FarAddr6, "7"))
	}
	greeting(l.Host, port(lab.FarAddr6, "7"))
	l.OK("run", "-d", "--name=net00", "--net=dual")
	before := natRule(l, "masquerade", "dual")
	if got := hostPart(t, inside(l, "net00", "tcp-ask", port(lab.FarAddr6, "7"))); got != lab.HostAddr6 {
		t.Errorf("the TCP server outside saw %s", got)
	}
	if got := inside(l, "net00", "udp-ask", port(lab.FarAddr6, "7"), "question"); hostPart(t, strings.TrimSuffix(got, " question")) != lab.HostAddr6 {
		t.Errorf("the UDP server outside answered %q", got)
	}
	expectPing(l, "net00", lab.FarAddr6)
	if after := natRule(l, "masquerade", "dual"); after.Packets != before.Packets+3 {
		t.Errorf("TCP, UDP and ping moved the masquerade rule from %d to %d flows", before.Packets, after.Packets)
	}
	l.OK("network", "create", "--ipv6", "--internal", "inside")
	l.OK("run", "-d", "--name=apart", "--net=inside")
	if r := l.Sluice("exec", "apart", selfPath, "tcp-ask", port(lab.FarAddr6, "7")); r.Code == 0 {
		t.Errorf("an internal network's container reached outside: %s", r.Stdout)
	}
}

func TestRow13AliasIPv6(t *testing.T) {
	t.Parallel()
	l := newDualLab(t)
	for i := range 3 {
		runServer(l, fmt.Sprintf("m%d", i), "member", ":80", "--net=dual", "--net-alias=rr")
	}
	l.OK("run", "-d", "--name=client", "--net=dual")
	for i := range 3 {
		greetingInside(l, "client", fmt.Sprintf("[fd00:20::%d]:80", i+2))
	}
	addr := net.JoinHostPort(vip6(l, "rr"), "80")
	expectTurn(t, "TCP from a container", 3, func() string { return inside(l, "client", "tcp-ask", addr) })
	expectTurn(t, "UDP from a container", 3, func() string { return inside(l, "client", "udp-ask-from", turnPort(), addr, "who?") })
	expectTurn(t, "TCP from a member", 3, func() string { return inside(l, "m0", "tcp-ask", addr) })
	expectTurn(t, "UDP from a member", 3, func() string { return inside(l, "m1", "udp-ask-from", turnPort(), addr, "who?") })
	expectTurn(t, "TCP from the host", 3, func() string { return greeting(l.Host, addr) })
	expectTurn(t, "UDP from the host", 3, func() string { return persist(l.Host, "udp-ask-from", turnPort(), addr, "who?") })
	before := natRule(l, "alias", "rr").Packets
	for _, from := range []string{"client", "m0", "client"} {
		expectPing(l, from, vip6(l, "rr"))
	}
	l.Host.Output("busybox", "ping", "-c", "1", "-W", "5", vip6(l, "rr"))
	if after := natRule(l, "alias", "rr").Packets; after != before+4 {
		t.Errorf("4 pings moved the rule from %d to %d flows", before, after)
	}
	if got := resolve(l, "client", "udp", "rr", "AAAA", "0"); got != "NOERROR "+vip6(l, "rr") {
		t.Errorf("AAAA of rr: %q", got)
	}
	expectUnreached(t, l.Client, addr)
	l.OK("kill", "m2")
	expectTurn(t, "after a kill", 2, func() string { return greeting(l.Host, addr) })
	expectInvariants(l)
}

// TestRow05DefaultNetworkWithIPv6 covers a daemon that gives it IPv6, and one that
// takes it away again, while a container runs and while none does.
func TestRow05DefaultNetworkWithIPv6(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("create", "--name=net00", "-p", "8080:80", "--", selfPath, "tcp-echo", ":80")
	subnet := func() string {
		return l.OK("network", "inspect", "--format={{range .IPAM.Config}}{{.Subnet}} {{end}}", "bridge")
	}
	if got := subnet(); got != "172.17.0.0/16 " {
		t.Errorf("without --ipv6: %s", got)
	}
	l.StopDaemon(unix.SIGTERM)
	l.StartDaemon("--ipv6", "--fixed-cidr-v6=fd00:17::/64")
	l.OK("start", "net00")
	if got := hostPart(t, greeting(l.Client, port(lab.HostAddr6, "8080"))); got != lab.ClientAddr6 {
		t.Errorf("the server saw %s", got)
	}
	settings := inspect(l, "net00").NetworkSettings
	want := []api.PortBinding{{HostIP: "0.0.0.0", HostPort: "8080"}, {HostIP: "::", HostPort: "8080"}}
	if got := settings.Ports["80/tcp"]; !slices.Equal(got, want) || settings.GlobalIPv6Address != "fd00:17::2" || settings.IPv6Gateway != "fd00:17::1" {
		t.Errorf("inspect: %+v", settings)
	}
	l.StopDaemon(unix.SIGKILL)
	l.StartDaemon()
	if got := subnet(); got != "172.17.0.0/16 fd00:17::/64 " {
		t.Errorf("while a container runs it has become %s", got)
	}
	greeting(l.Client, port(lab.HostAddr6, "8080"))
	l.OK("stop", "-t", "0", "net00")
	l.StopDaemon(unix.SIGTERM)
	l.StartDaemon()
	if got := subnet(); got != "172.17.0.0/16 " {
		t.Errorf("with no container it has stayed %s", got)
	}
	l.OK("start", "net00")
	greeting(l.Client, port(lab.HostAddr, "8080"))
	expectInvariants(l)
}

func TestBadDefaultNetwork(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	for flags, says := range map[string]string{
		"--fixed-cidr-v6=fd00:17::/64":         "add --ipv6",
		"--ipv6 --fixed-cidr-v6=fd00:17::1/64": "use that",
		"--ipv6 --fixed-cidr-v6=172.17.0.0/16": "neither global unicast nor unique local",
	} {
		args := append([]string{"--root", l.Root, "daemon", "--cgroup", l.Cgroup}, strings.Fields(flags)...)
		expectLine(t, flags, l.Host.Run(lab.Binary(t), args...), 1, says)
	}
}

// TestWithoutIPv6 covers a host that has it switched off: IPv4 is as ever.
func TestWithoutIPv6(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	l.Host.Output("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6")
	l.StartDaemon()
	expectLine(t, "network create --ipv6", l.Sluice("network", "create", "--ipv6", "dual"), 1, "set net.ipv6.conf.all.disable_ipv6 to 0")
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	greeting(l.Client, port(lab.HostAddr, "8080"))
	expectInvariants(l)
}
