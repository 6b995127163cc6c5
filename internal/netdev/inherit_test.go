package netdev_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/netdev/netdevtest"
)

// lender, in the environment, makes this binary make the lending device again and
// again, with that file to remember what it borrows.
const lender = "NETDEV_TEST_LENDER"

func TestMain(m *testing.M) {
	if borrowed := os.Getenv(lender); borrowed != "" {
		fmt.Fprintln(os.Stderr, lend(borrowed))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func lend(borrowed string) error {
	host, err := netdev.Open("test", borrowed)
	if err != nil {
		return err
	}
	for {
		if _, err := host.EnsureLendingDevice(); err != nil {
			return err
		}
		if err := host.DeleteDevice(netdev.LendingDevice); err != nil {
			return err
		}
	}
}

const defaultForwarding = "/proc/sys/net/ipv6/conf/default/forwarding"

// killLender kills a process at the moment in which the host's default is another.
// The test's namespace is the host.
func killLender(t *testing.T, borrowed string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), lender+"="+borrowed)
		var said strings.Builder
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for sysctlAt(t, defaultForwarding) == "0" && time.Now().Before(deadline) {
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if said.Len() > 0 {
			t.Fatal(said.String())
		}
		if sysctlAt(t, defaultForwarding) == "1" {
			return
		}
	}
	t.Fatal("no process was killed in the moment")
}

func sysctlAt(t *testing.T, path string) string {
	t.Helper()
	value, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(value))
}

// TestKilledLender covers a process that is killed while it makes the lending
// device, which needs the host's default for new devices to be another: the next
// one puts that right, whatever it finds of the device.
func TestKilledLender(t *testing.T) {
	t.Parallel()
	netdevtest.Enter(t)
	borrowed := filepath.Join(t.TempDir(), "borrowed")
	for range 3 {
		killLender(t, borrowed)
		host, err := netdev.Open("test", borrowed)
		if err != nil {
			t.Fatal(err)
		}
		defer host.Close()
		if _, err := host.EnsureLendingDevice(); err != nil {
			t.Fatal(err)
		}
		wantSysctl(t, "ipv6/conf/default/forwarding", "0")
		wantSysctl(t, "ipv6/conf/sluice-fib/forwarding", "1")
		if _, err := os.Stat(borrowed); !os.IsNotExist(err) {
			t.Errorf("the file that remembers it: %v", err)
		}
	}

	// Meanwhile the host has become a router: its default is what it has made it.
	killLender(t, borrowed)
	write(t, "ipv6/conf/all/forwarding", "1")
	host, err := netdev.Open("test", borrowed)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if _, err := host.EnsureLendingDevice(); err != nil {
		t.Fatal(err)
	}
	wantSysctl(t, "ipv6/conf/default/forwarding", "1")
}

// TestHalfWrittenMemory covers a process that was killed before it had written
// what it would change.
func TestHalfWrittenMemory(t *testing.T) {
	t.Parallel()
	netdevtest.Enter(t)
	borrowed := filepath.Join(t.TempDir(), "borrowed")
	if err := os.WriteFile(borrowed, nil, fs.FileMode(0o600)); err != nil {
		t.Fatal(err)
	}
	host, err := netdev.Open("test", borrowed)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if _, err := host.EnsureLendingDevice(); err != nil {
		t.Fatal(err)
	}
	wantSysctl(t, "ipv6/conf/default/forwarding", "0")
	wantSysctl(t, "ipv6/conf/sluice-fib/forwarding", "1")
}
