package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var soakSuspend = flag.Duration("soak.suspend", 2*time.Second, "how long the host stands still in the soak `suspend`")

// soakSuspended lets the host stand still as it does in a suspend, as far as that can
// be done to a part of a machine: its processes are frozen, the daemon and those
// in containers alike, and no frame comes in or leaves. That the datapath's
// clock stands still too in a real one is not tested here: see TestClocksStopTogether
// in package datapath and TestJiffiesAfterASuspend in package loader.
func soakSuspended(t *testing.T, _ uint64) {
	l := newLoadLab(t)
	ways := l.ways(families...)
	kept := l.startLoad(*soakConnections, ways)
	l.Client.Output("ip", "link", "set", "eth0", "down")
	l.freeze("1")
	time.Sleep(*soakSuspend)
	l.Host.Address("eth0", "192.0.2.11/24") // of which the daemon learns when it wakes up
	l.Client.Output("ip", "link", "set", "eth0", "up")
	l.restoreClient()
	l.freeze("0")
	l.Host.Eventually("a published port at the new address", func() error {
		if r := ask(l.Client, "tcp-peer", "192.0.2.11:8080"); r.Code != 0 {
			return fmt.Errorf("%s", r.Stderr)
		}
		return nil
	})
	made := l.startChurn("20ms", "0s", ways)
	time.Sleep(2 * loadBeat)
	if r := made.stop(); r.Failed > 0 {
		t.Errorf("after %v: %v", *soakSuspend, r)
	}
	t.Logf("after %v:", *soakSuspend)
	kept.expectKept()
	l.OK("run", "--rm", "true")
	expectInvariants(l.Lab)
}

// freeze stops the lab's processes, or lets them go on.
func (l *loadLab) freeze(state string) {
	l.Helper()
	if err := os.WriteFile(filepath.Join(l.Cgroup, "cgroup.freeze"), []byte(state), 0); err != nil {
		l.Fatal(err)
	}
	if state == "1" {
		l.Cleanup(func() { l.freeze("0") }) // a frozen process cannot be ended
	}
}
