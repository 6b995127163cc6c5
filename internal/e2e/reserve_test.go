package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

// hostSysctl reads a setting of the host's network.
func hostSysctl(l *lab.Lab, name string) string {
	l.Helper()
	return strings.Join(strings.Fields(l.Host.Output("cat", "/proc/sys/net/"+name)), " ")
}

func setHostSysctl(l *lab.Lab, name, value string) {
	l.Helper()
	l.Host.Must(func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) })
}

// TestReservedPortsAreForMasquerade covers a host whose own sockets may take
// nearly every port, so that masquerade has only what is reserved for it.
func TestReservedPortsAreForMasquerade(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	setHostSysctl(l, "ipv4/ip_local_port_range", "1024 65535")
	setHostSysctl(l, "ipv4/ip_local_reserved_ports", "8080")
	l.StartDaemon()
	l.Client.Background(selfPath, "udp-echo", lab.ClientAddr+":7")
	l.OK("run", "-d", "--name=net00")
	if r := l.Sluice("exec", "net00", selfPath, "udp-ask", lab.ClientAddr+":7", "hello"); r.Code == 0 {
		t.Errorf("there is no port, but %s", r.Stdout)
	}

	l.StopDaemon(unix.SIGTERM)
	l.StartDaemon("--reserve-ports=4096")
	if got := hostSysctl(l, "ipv4/ip_local_reserved_ports"); got != "8080,61440-65535" {
		t.Errorf("reserved: %s", got)
	}
	answer := persistInside(l, "net00", "udp-ask", lab.ClientAddr+":7", "hello")
	from := netip.MustParseAddrPort(strings.Fields(answer)[0])
	if from.Addr().String() != lab.HostAddr || from.Port() < 61440 {
		t.Errorf("masqueraded as %s", from)
	}

	l.StopDaemon(unix.SIGKILL)
	if got := hostSysctl(l, "ipv4/ip_local_reserved_ports"); got != "8080,61440-65535" {
		t.Errorf("reserved without the daemon: %s", got)
	}
	for n, want := range map[int]string{5000: "8080,60536-65535", 0: "8080"} {
		l.StartDaemon(fmt.Sprintf("--reserve-ports=%d", n))
		if got := hostSysctl(l, "ipv4/ip_local_reserved_ports"); got != want {
			t.Errorf("--reserve-ports=%d: reserved %s, want %s", n, got, want)
		}
		l.StopDaemon(unix.SIGKILL)
	}
	l.StartDaemon("--reserve-ports=4096")
}

// TestResetGivesReservedPortsBack covers a reset by the daemon, and by nobody
// but the client.
func TestResetGivesReservedPortsBack(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]bool{"with the daemon": false, "without it": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lab.NewWithoutDaemon(t)
			before := stateOf(l)
			l.StartDaemon("--reserve-ports=4096")
			if stop {
				l.StopDaemon(unix.SIGKILL)
			}
			l.OK("system", "reset", "--force")
			expectState(t, stateOf(l), before)
		})
	}
}

func TestBadReservedPorts(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	before := stateOf(l)
	for n, says := range map[string]string{"-1": "-1", "28000": "27208", "70000": "27208", "many": "many"} {
		r := l.Host.Run(lab.Binary(t), "--root", l.Root, "daemon", "--log-level", "error", "--cgroup", l.Cgroup, "--reserve-ports", n)
		expectLine(t, "--reserve-ports "+n, r, 1, says)
	}
	expectState(t, stateOf(l), before)
}
