package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/lab"
)

// probe connects a container's namespace with the client's by a veth that is
// ours alone: its end at the client goes when the namespace does.
func probe(l *lab.Lab, container, name string) {
	l.Helper()
	sandbox, err := os.Open(inspect(l, container).NetworkSettings.SandboxKey)
	if err != nil {
		l.Fatal(err)
	}
	defer sandbox.Close()
	l.Client.Must(func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name, PeerNamespace: netlink.NsFd(sandbox.Fd()),
		})
	})
}

// TestNamesLeaveNothing runs and removes 100 containers, some of which have a
// connection to their name server or a query outside when they go, and looks
// for what they may have left. The daemon's sockets would hold a namespace.
func TestNamesLeaveNothing(t *testing.T) {
	t.Parallel()
	l := newNamesLab(t)
	l.OK("run", "-d", "--name=stays", "--network=custombridge")
	commands := map[int][]string{
		0: {"busybox", "nc", "127.0.0.11", "53"}, // a connection that asks nothing
		1: {selfPath, "dns-ask", resolver, "udp", "silent.example.net", "A", "0"},
	}
	run := func(i int) {
		command, busy := commands[i%10]
		if !busy {
			command = []string{"sleep", "1000"}
		}
		l.OK(append([]string{"run", "-d", "-i", "--name=goes", "--network=custombridge", "--"}, command...)...)
		if busy {
			probe(l, "goes", fmt.Sprintf("probe%d", i))
		}
		l.OK("rm", "-f", "goes")
	}
	run(0)
	run(2)
	before := footprint(l)
	for i := range 100 {
		run(i + 10)
	}
	l.Host.Eventually("nothing is left", func() error {
		for what, n := range footprint(l) {
			if n > before[what] && !strings.HasPrefix(what, "entries of") {
				return fmt.Errorf("%s: %d before, %d after", what, before[what], n)
			}
		}
		return nil
	})
	l.Client.Eventually("the namespaces go", func() error {
		if got := l.Client.Output("ip", "-br", "link"); strings.Contains(got, "probe") {
			return fmt.Errorf("still there:\n%s", got)
		}
		return nil
	})
}
