package e2e

import (
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/lab"
)

// hostProcessLab is a host with an alias, with ports published on every address
// (8080 TCP, 5353 UDP), on 127.0.0.1 (8081, 5354) and on the host's second address
// (8082, 5355), which is on lo.
func hostProcessLab(t *testing.T, f family) *lab.Lab {
	t.Helper()
	l := f.lab(t)
	l.Host.Address("lo", whole(f.second))
	f.network(l, "custombridge")
	f.runOnSecond(l, "tcp00", "tcp-echo", ":80", "-p", "8080:80", "-p", port(f.loopback, "8081:80"), "-p", port(f.second, "8082:80"))
	runServer(l, "udp00", "udp-echo", ":53", "-p", "5353:53/udp", "-p", port(f.loopback, "5354:53/udp"), "-p", port(f.second, "5355:53/udp"))
	runServer(l, "m0", "member", ":80", "--network=custombridge", "--network-alias=rr")
	greeting(l.Client, port(f.host, "8080"))
	datagram(l.Client, port(f.host, "5353"), "up?")
	greeting(l.Host, port(f.inOther, "80"))
	return l
}

// TestHostProcesses covers every way in which a process of the host may talk to
// a container: by TCP, by a connected UDP socket and by one that is not, bound
// and not; at every address that leads there. The peer is called what was asked for.
func TestHostProcesses(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := hostProcessLab(t, f)
		everywhere := []string{f.loopback, f.host, f.second, f.gateway}
		if f.loopback == "127.0.0.1" {
			everywhere = append(everywhere, "127.9.8.7")
		}
		tcp := []string{port(f.loopback, "8081"), port(f.second, "8082"), port(f.inOther, "80"), port(f.vip(l, "rr"), "80")}
		udp := []string{port(f.loopback, "5354"), port(f.second, "5355"), port(f.inOther, "80"), port(f.vip(l, "rr"), "80")}
		for _, addr := range everywhere {
			tcp, udp = append(tcp, port(addr, "8080")), append(udp, port(addr, "5353"))
		}
		for protocol, addrs := range map[string][]string{"tcp": tcp, "udp": udp} {
			r := ask(l.Host, "ask-every-way", append([]string{protocol}, addrs...)...)
			if r.Code != 0 || r.Stdout != "" {
				t.Errorf("%s: exit code %d\n%s%s", protocol, r.Code, r.Stdout, r.Stderr)
			}
		}
		// Not bound: what comes from another network's gateway is of that network.
		greeting(l.Host, port(f.other, "8080"))
		for _, way := range []string{"udp, connected", "udp, sendto"} {
			if r := ask(l.Host, "ask-every-way", way, port(f.other, "5353")); r.Code != 0 || r.Stdout != "" {
				t.Errorf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
			}
		}
	})
}

// TestLoopback6LeadsToIPv4 covers ::1, and a container that has no IPv6: sockets
// reach it by IPv4. One that is bound to an IPv6 address cannot become one of IPv4;
// it learns at once that nobody is there for it.
func TestLoopback6LeadsToIPv4(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	runServer(l, "tcp00", "tcp-echo", ":80", "-p", "8080:80")
	runServer(l, "udp00", "udp-echo", ":53", "-p", "5353:53/udp")
	greeting(l.Host, "[::1]:8080")
	if got := datagram(l.Host, "[::1]:5353", "hello"); !strings.HasSuffix(got, " hello") {
		t.Errorf("by ::1 the UDP server answered %q", got)
	}
	for way, addr := range map[string]string{"tcp, bound": "[::1]:8080", "udp, bound": "[::1]:5353"} {
		if r := ask(l.Host, "ask-every-way", way, addr); r.Code != 0 || !strings.Contains(r.Stdout, "refused") {
			t.Errorf("%s: exit code %d, %s%s", way, r.Code, r.Stdout, r.Stderr)
		}
	}
}

// TestPublishedOnLoopbackOnly covers a port published on 127.0.0.1, which is
// closed to everyone but the host itself, at that very address: each is refused
// by the host's stack as a port where nobody listens (moby#45610). The same goes
// for one published on another address than is asked for.
func TestPublishedOnLoopbackOnly(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := hostProcessLab(t, f)
		l.OK("run", "-d", "--name=net00")
		l.OK("run", "-d", "--name=net01", "--network=custombridge")
		refused := func(who, protocol, addr string, r lab.Result) {
			t.Helper()
			if r.Code == 0 || !strings.Contains(r.Stderr, "refused") {
				t.Errorf("%s to %s by %s: exit code %d, %s%s", who, addr, protocol, r.Code, r.Stdout, r.Stderr)
			}
		}
		for addr, protocol := range map[string]string{
			port(f.host, "8081"): "tcp", port(f.host, "8082"): "tcp", port(f.host, "5354"): "udp", port(f.host, "5355"): "udp",
		} {
			args := map[string][]string{"tcp": {"tcp-ask", addr}, "udp": {"udp-ask", addr, "?"}}[protocol]
			refused("the client", protocol, addr, ask(l.Client, args[0], args[1:]...))
			refused("the host", protocol, addr, ask(l.Host, args[0], args[1:]...))
			for _, name := range []string{"tcp00", "net00", "net01"} {
				refused(name, protocol, addr, l.Sluice(append([]string{"exec", name, selfPath}, args...)...))
			}
		}
		for _, args := range [][]string{{"tcp-ask", port(f.gateway, "8081")}, {"udp-ask", port(f.gateway, "5354"), "?"}} {
			refused("net00", args[0], args[1], l.Sluice(append([]string{"exec", "net00", selfPath}, args...)...))
		}
	})
}
