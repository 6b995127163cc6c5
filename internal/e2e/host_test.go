package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/lab"
)

// busyHost is a host with every kind of thing that sluice makes.
func busyHost(l *lab.Lab) {
	l.Helper()
	l.OK("network", "create", "--ipv6", "--subnet=172.20.0.0/16", "custombridge")
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80", "-p", "127.0.0.1:9000-9010:9000-9010/udp")
	l.OK("run", "-d", "--name=net01", "--network=custombridge", "-p", "8081:80")
	l.OK("run", "-d", "--name=test00", "--net=host")
	l.OK("run", "-d", "--name=non00", "--net=none")
	l.OK("create", "--name=created")
	greeting(l.Client, lab.HostAddr+":8080")
	greeting(l.Host, "127.0.0.1:8080")
}

func TestNoRuleAndNoRouter(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	busyHost(l)
	for _, command := range []string{"iptables-save", "ip6tables-save", "nft list ruleset"} {
		fields := strings.Fields(command)
		for line := range strings.Lines(l.Host.Output(fields[0], fields[1:]...)) {
			if strings.HasPrefix(line, "-A") || strings.Contains(line, "chain") {
				t.Errorf("%s has %s", command, line)
			}
		}
	}
	for _, name := range []string{"net/ipv4/ip_forward", "net/ipv4/conf/default/forwarding", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/default/forwarding", "net/ipv4/conf/eth0/forwarding"} {
		if got := l.Host.Output("cat", "/proc/sys/"+name); got != "0" {
			t.Errorf("%s is %s", name, got)
		}
	}
}

func TestSystemResetLeavesTheHostAsItWas(t *testing.T) {
	t.Parallel()
	for _, daemon := range []string{"running", "stopped", "killed"} {
		t.Run("daemon "+daemon, func(t *testing.T) {
			t.Parallel()
			l := lab.NewWithoutDaemon(t)
			before := stateOf(l)
			l.StartDaemon()
			busyHost(l)
			objects := objectsOf(l)
			switch daemon {
			case "stopped":
				l.StopDaemon(unix.SIGTERM)
			case "killed":
				l.StopDaemon(unix.SIGKILL)
			}
			l.OK("system", "reset", "--force")
			expectState(t, stateOf(l), before)
			objects.expectFreed(l)
		})
	}
}

// TestKilledWhileItBorrows covers a daemon that is killed in the moment in which it
// needs the host's default for new devices to be another: to reset it, or to start
// the next one, leaves the host as it was.
func TestKilledWhileItBorrows(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	before := stateOf(l)
	killBorrower(l)
	l.OK("system", "reset", "--force")
	expectState(t, stateOf(l), before)
	killBorrower(l)
	l.StartDaemon()
	if got := l.Host.Output("cat", defaultForwarding); got != "0" {
		t.Errorf("with the next daemon it is %s", got)
	}
}

const defaultForwarding = "/proc/sys/net/ipv6/conf/default/forwarding"

// killBorrower starts daemons until one is killed in that moment.
func killBorrower(l *lab.Lab) {
	l.Helper()
	borrows := func() bool {
		value, err := os.ReadFile(defaultForwarding)
		return err == nil && string(value) == "1\n"
	}
	ready := func() bool {
		_, err := os.Stat(filepath.Join(l.Root, "run", "sluice.sock"))
		return err == nil
	}
	for range 200 {
		l.LaunchDaemon()
		var killed bool
		l.Host.Must(func() error {
			for deadline := time.Now().Add(time.Minute); !borrows() && !ready() && time.Now().Before(deadline); {
			}
			l.StopDaemon(unix.SIGKILL)
			killed = borrows()
			return nil
		})
		if killed {
			return
		}
		l.OK("system", "reset", "--force")
	}
	l.Fatal("no daemon was killed in the moment")
}

// TestResetAmongVerbs covers verbs that are making things when a reset comes: what
// they make goes too.
func TestResetAmongVerbs(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	before := stateOf(l)
	l.StartDaemon()
	l.OK("network", "create", "custombridge")
	objects := objectsOf(l)
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 100 { // until the daemon is gone
				r := l.Sluice("run", "-d", "--network=custombridge", "--network-alias=rr", "-p", "80")
				if worker == 0 {
					r = l.Sluice("network", "create", fmt.Sprintf("n%d", i))
				}
				if strings.Contains(r.Stderr, "cannot connect") {
					return
				}
			}
		})
	}
	l.Host.Eventually("containers are made", func() error {
		if got := l.OK("ps", "-q"); strings.Count(got, "\n") < 3 {
			return fmt.Errorf("so far: %s", got)
		}
		return nil
	})
	l.OK("system", "reset", "--force")
	group.Wait()
	expectState(t, stateOf(l), before)
	objects.expectFreed(l)
}

func systemInfo(l *lab.Lab) api.Info {
	l.Helper()
	return jsonOf[[]api.Info](l, "system", "info")[0]
}

func TestRunRmLeavesNothing(t *testing.T) {
	t.Parallel()
	const workers, each = 4, 50
	l := lab.New(t)
	l.OK("run", "--rm", "-p", "8080:80", "true") // what is made once and kept
	before := footprint(l)
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for range each {
				port := fmt.Sprintf("%d:80", 8080+worker)
				if r := l.Sluice("run", "--rm", "-p", port, "true"); r.Code != 0 {
					t.Errorf("run --rm: exit code %d: %s", r.Code, r.Stderr)
					return
				}
			}
		})
	}
	group.Wait()
	expectFootprint(l, before)
	l.OK("run", "-d", "--name=next")
	if got := addressOf(l, "next", "bridge"); got != "172.17.0.2" {
		t.Errorf("the next container has %s, so an address is lost", got)
	}
}

// TestDefaultPoolsSkipWhatTheHostHas covers a host that uses the addresses
// which the default bridge would get.
func TestDefaultPoolsSkipWhatTheHostHas(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	l.Host.Route("172.17.5.0/24", lab.ClientAddr)
	l.Host.Address("eth0", "172.19.0.9/16")
	l.StartDaemon()
	l.OK("network", "create", "first")
	for network, want := range map[string]string{"bridge": "172.18.0.0/16", "first": "172.20.0.0/16"} {
		if got := l.OK("network", "inspect", "--format", "{{range .IPAM.Config}}{{.Subnet}}{{end}}", network); got != want {
			t.Errorf("%s has %s, want %s", network, got, want)
		}
	}
	l.OK("run", "-d", "--name=net00")
	if got := addressOf(l, "net00", "bridge"); got != "172.18.0.2" {
		t.Errorf("net00 has %s", got)
	}
}
