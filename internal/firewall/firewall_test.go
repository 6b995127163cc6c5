package firewall

import (
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The first thread is kept from the tests: /proc/self/net is its namespace, and
// another thread's may differ.
func init() { runtime.LockOSThread() }

// TestDropping covers what the tools themselves have set, in a namespace of its
// own, whose thread ends with the test.
func TestDropping(t *testing.T) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("unshare: %v (this test needs root)", err)
	}
	expect := func(what string, want ...Chain) {
		t.Helper()
		got, err := Dropping()
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, func(a, b Chain) int { return strings.Compare(a.Name, b.Name) })
		if !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	expect("no firewall")
	for _, command := range []string{
		"iptables-nft -P FORWARD DROP", "iptables-nft -P INPUT ACCEPT", "ip6tables-legacy -P OUTPUT DROP", "iptables-legacy -P FORWARD DROP",
		"nft add table inet mine", "nft add chain inet mine in { type filter hook input priority 0; policy drop; }",
		"nft add chain inet mine pre { type filter hook prerouting priority 0; policy drop; }", "nft add chain inet mine other",
		"nft add table bridge frames", "nft add chain bridge frames through { type filter hook forward priority 0; policy drop; }",
	} {
		if out, err := exec.Command("sh", "-c", strings.NewReplacer("{", "'{", "}", "}'").Replace(command)).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	expect("several",
		Chain{Forward, "bridge frames through", true},
		Chain{Input, "inet mine in", false},
		Chain{Forward, "ip filter FORWARD", false},
		Chain{Output, "ip6tables-legacy OUTPUT", false},
		Chain{Forward, "iptables-legacy FORWARD", false},
	)
}
