package e2e

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/internal/netdev"
)

const resolver = "127.0.0.11:53"

// resolve asks the name server of a container with the test's own client.
func resolve(l *lab.Lab, container, network, name, kind, size string) string {
	l.Helper()
	return l.OK("exec", container, selfPath, "dns-ask", resolver, network, name, kind, size)
}

// wantResolved asks by UDP for an address.
func wantResolved(l *lab.Lab, container, name, want string) {
	l.Helper()
	if got := resolve(l, container, "udp", name, "A", "0"); got != want {
		l.Errorf("%s in %s: got %q, want %q", name, container, got, want)
	}
}

// newNamesLab has a name server in the client namespace, which knows that every
// name is 203.0.113.9, and the network custombridge.
func newNamesLab(t *testing.T, daemonArgs ...string) *lab.Lab {
	l := lab.New(t, append([]string{"--dns-upstream=" + lab.FarAddr + ":5300"}, daemonArgs...)...)
	l.Client.Background(selfPath, "dns-serve", lab.FarAddr+":5300", "203.0.113.9")
	l.OK("network", "create", "--subnet=172.20.0.0/16", "custombridge")
	l.Host.Eventually("the server outside answers", func() error {
		return errorOf(ask(l.Host, "dns-ask", lab.FarAddr+":5300", "udp", "example.net", "A", "0"))
	})
	return l
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"tcx", "clsact"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			l := newNamesLab(t, "--attach="+mode)
			id := l.OK("run", "-d", "--name=net01", "--network=custombridge")
			l.OK("run", "-d", "--name=net02", "--network=custombridge")
			for name, want := range map[string]string{
				"net01":                            "NOERROR 172.20.0.2",
				"net02":                            "NOERROR 172.20.0.3",
				"NET01":                            "NOERROR 172.20.0.2",
				id[:12]:                            "NOERROR 172.20.0.2",
				"net01.custombridge":               "NOERROR 172.20.0.2",
				"Net01.CustomBridge":               "NOERROR 172.20.0.2",
				"example.net":                      "NOERROR 203.0.113.9",
				"net01.elsewhere":                  "NOERROR 203.0.113.9",
				"missing.example.net":              "NXDOMAIN",
				"refused.example.net":              "REFUSED",
				"a.net01.custombridge.example.net": "NOERROR 203.0.113.9",
			} {
				for _, network := range []string{"udp", "tcp"} {
					if got := resolve(l, "net02", network, name, "A", "0"); got != want {
						t.Errorf("%s by %s: got %q, want %q", name, network, got, want)
					}
				}
			}
			for _, kind := range []string{"AAAA", "MX", "TXT", "SRV", "HTTPS"} {
				if got := resolve(l, "net01", "udp", "net02", kind, "1232"); got != "NOERROR" {
					t.Errorf("%s of net02: %q, want no error and no record", kind, got)
				}
			}
			if got := resolve(l, "net01", "udp", "3.0.20.172.in-addr.arpa", "PTR", "0"); got != "NOERROR net02.custombridge." {
				t.Errorf("PTR: %q", got)
			}
		})
	}
}

// TestNamesFollowContainers covers names of containers that come, go and start
// again, and those of other networks.
func TestNamesFollowContainers(t *testing.T) {
	t.Parallel()
	l := newNamesLab(t)
	l.OK("network", "create", "--subnet=172.21.0.0/16", "second")
	l.OK("run", "-d", "--name=net01", "--network=custombridge")
	l.OK("run", "-d", "--name=apart", "--network=second")
	l.OK("run", "-d", "--name=plain")
	l.OK("create", "--name=created", "--network=custombridge")
	const outside = "NOERROR 203.0.113.9"
	for _, name := range []string{"apart", "apart.second", "plain", "plain.bridge", "created"} {
		wantResolved(l, "net01", name, outside)
	}
	l.OK("start", "created")
	wantResolved(l, "net01", "created", "NOERROR 172.20.0.3")
	l.OK("stop", "-t", "0", "created")
	wantResolved(l, "net01", "created", outside)
	l.OK("run", "-d", "--name=takes", "--network=custombridge")
	l.OK("start", "created")
	wantResolved(l, "net01", "takes", "NOERROR 172.20.0.3")
	wantResolved(l, "net01", "created", "NOERROR 172.20.0.4")
	l.OK("rm", "-f", "created")
	wantResolved(l, "net01", "created", outside)
}

func TestNamesOfAliases(t *testing.T) {
	t.Parallel()
	l := newNamesLab(t)
	for _, name := range []string{"one", "two"} {
		l.OK("run", "-d", "--name="+name, "--network=custombridge", "--net-alias=rr")
	}
	first := resolve(l, "one", "udp", "rr", "A", "0")
	if !strings.HasPrefix(first, "NOERROR 172.20.") || strings.Count(first, " ") != 1 {
		t.Fatalf("rr: %q, want one address of the network", first)
	}
	for _, name := range []string{"RR", "rr.custombridge"} {
		wantResolved(l, "two", name, first)
	}
	l.OK("network", "create", "--subnet=172.22.0.0/16", "--alias-mode=dnsrr", "turns")
	for _, name := range []string{"three", "four"} {
		l.OK("run", "-d", "--name="+name, "--network=turns", "--net-alias=rr")
	}
	got := resolve(l, "three", "udp", "rr", "A", "0")
	if got != "NOERROR 172.22.0.2 172.22.0.3" && got != "NOERROR 172.22.0.3 172.22.0.2" {
		t.Errorf("rr in turns: %q, want both addresses", got)
	}
}

// TestNamesWithRealClients asks with what images have.
func TestNamesWithRealClients(t *testing.T) {
	t.Parallel()
	l := newNamesLab(t)
	l.OK("run", "-d", "--name=net01", "--network=custombridge")
	if got := l.OK("exec", "net01", "cat", "/etc/resolv.conf"); !strings.HasPrefix(got, "nameserver 127.0.0.11\n") || !strings.Contains(got, "ndots:") || strings.Count(got, "nameserver") != 1 {
		t.Errorf("resolv.conf: %q", got)
	}
	if got := l.OK("exec", "net01", "busybox", "nslookup", "net01"); !strings.Contains(got, "172.20.0.2") || !strings.Contains(got, "127.0.0.11") {
		t.Errorf("nslookup: %s", got)
	}
	for _, flag := range []string{"+notcp", "+tcp"} {
		if got := l.OK("exec", "net01", "dig", flag, "+short", "net01"); got != "172.20.0.2" {
			t.Errorf("dig %s: %q", flag, got)
		}
	}
	if got := l.OK("exec", "net01", "dig", "+short", "-x", "172.20.0.2"); got != "net01.custombridge." {
		t.Errorf("dig -x: %q", got)
	}
	if got := l.OK("exec", "net01", "getent", "ahosts", "net01"); !strings.Contains(got, "172.20.0.2") {
		t.Errorf("getent: %q", got)
	}
	if got := l.OK("exec", "net01", "busybox", "ping", "-c", "1", "-W", "5", "net01"); !strings.Contains(got, "1 packets received") {
		t.Errorf("ping: %q", got)
	}
	l.OK("run", "-d", "--name=plain")
	if got := l.OK("exec", "plain", "cat", "/etc/resolv.conf"); strings.Contains(got, "127.0.0.11") {
		t.Errorf("resolv.conf on the default bridge: %q", got)
	}
}

// TestNamesSizes covers answers larger than a datagram may be.
func TestNamesSizes(t *testing.T) {
	t.Parallel()
	l := newNamesLab(t)
	l.OK("run", "-d", "--name=net01", "--network=custombridge")
	count := func(network, size string) (records int, cut bool) {
		got := resolve(l, "net01", network, "big.example.net", "TXT", size)
		return strings.Count(got, `"`) / 2, strings.Contains(got, " tc")
	}
	if n, cut := count("udp", "0"); !cut || n >= 12 {
		t.Errorf("512 bytes: %d records, cut: %v", n, cut)
	}
	if n, cut := count("udp", "2048"); !cut || n < 30 || n >= 50 {
		t.Errorf("2048 bytes: %d records, cut: %v", n, cut)
	}
	// The server outside cuts at 512 bytes, so that we ask again by TCP.
	if n, cut := count("udp", "8192"); cut || n != 100 {
		t.Errorf("8192 bytes: %d records, cut: %v", n, cut)
	}
	if n, cut := count("tcp", "0"); cut || n != 100 {
		t.Errorf("TCP: %d records, cut: %v", n, cut)
	}
}

// TestContainerIsNameServer runs a name server on port 53 of every address of
// a container: others reach it there, and the container itself still finds
// ours at 127.0.0.11.
func TestContainerIsNameServer(t *testing.T) {
	t.Parallel()
	l := newNamesLab(t)
	l.OK("run", "-d", "--name=server", "--network=custombridge", "--", selfPath, "dns-serve", "0.0.0.0:53", "203.0.113.53")
	l.OK("run", "-d", "--name=asks", "--network=custombridge", "--dns=172.20.0.2")
	for _, network := range []string{"udp", "tcp"} {
		for _, at := range [][2]string{{"asks", "172.20.0.2:53"}, {"server", "127.0.0.1:53"}, {"server", "172.20.0.2:53"}} {
			l.Host.Eventually("the container's server answers", func() error {
				return errorOf(l.Sluice("exec", at[0], selfPath, "dns-ask", at[1], network, "example.net", "A", "0"))
			})
			if got := l.OK("exec", at[0], selfPath, "dns-ask", at[1], network, "asks", "A", "0"); got != "NOERROR 203.0.113.53" {
				t.Errorf("%s at %s by %s: %q", at[0], at[1], network, got)
			}
		}
		if got := resolve(l, "server", network, "asks", "A", "0"); got != "NOERROR 172.20.0.3" {
			t.Errorf("127.0.0.11 in the server's container by %s: %q", network, got)
		}
	}
	wantResolved(l, "asks", "server", "NOERROR 172.20.0.2")
	wantResolved(l, "asks", "example.net", "NOERROR 203.0.113.53") // --dns
	wantResolved(l, "server", "example.net", "NOERROR 203.0.113.9")
}

func TestNamesOnInternalNetwork(t *testing.T) {
	t.Parallel()
	l := newNamesLab(t)
	l.OK("network", "create", "--internal", "--subnet=172.21.0.0/16", "inside")
	l.OK("run", "-d", "--name=net01", "--network=inside")
	wantResolved(l, "net01", "net01", "NOERROR 172.21.0.2")
	wantResolved(l, "net01", "example.net", "SERVFAIL")
}

func TestNamesAfterTheDaemon(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"tcx", "clsact"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			l := newNamesLab(t, "--attach="+mode)
			upstream := "--dns-upstream=" + lab.FarAddr + ":5300"
			l.OK("run", "-d", "--name=net01", "--network=custombridge", "--dns="+lab.ClientAddr)
			l.OK("run", "-d", "--name=net02", "--network=custombridge")
			for _, signal := range []unix.Signal{unix.SIGKILL, unix.SIGTERM} {
				l.StopDaemon(signal)
				l.StartDaemon(upstream) // in the kernel's own mode
				wantResolved(l, "net01", "net02", "NOERROR 172.20.0.3")
				wantResolved(l, "net02", "net01", "NOERROR 172.20.0.2")
				wantResolved(l, "net02", "example.net", "NOERROR 203.0.113.9")
				wantResolved(l, "net01", "example.net", "SERVFAIL") // nobody is at its --dns
				if got := programsOnLoopback(l, "net02"); got != 1 {
					t.Errorf("%d programs on lo, want one", got)
				}
			}
		})
	}
}

// errorOf is what a command that failed said.
func errorOf(r lab.Result) error {
	if r.Code != 0 {
		return errors.New(r.Stderr)
	}
	return nil
}

// programsOnLoopback counts the programs on lo of a container, of both modes.
func programsOnLoopback(l *lab.Lab, container string) (n int) {
	l.Helper()
	sandbox := inspect(l, container).NetworkSettings.SandboxKey
	err := netdev.InNamespace(sandbox, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if links, err := link.QueryPrograms(link.QueryOptions{Target: lo.Attrs().Index, Attach: ebpf.AttachTCXIngress}); err == nil {
			n += len(links.Programs)
		}
		filters, err := netlink.FilterList(lo, netlink.HANDLE_MIN_INGRESS)
		n += len(filters)
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
	return n
}
