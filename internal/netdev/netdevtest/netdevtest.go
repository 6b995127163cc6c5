// Package netdevtest gives tests network namespaces of their own.
package netdevtest

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/sluice-net/sluice/internal/netdev"
	"golang.org/x/sys/unix"
)

// Enter makes the rest of the test run in a new network namespace, whose lo is
// up, on a thread of its own. Goroutines that the test starts do not follow.
// The test fails without root.
func Enter(t *testing.T) {
	t.Helper()
	EnterPath(t, NewNamespace(t))
}

// EnterPath is Enter for the namespace at path.
func EnterPath(t *testing.T, path string) {
	t.Helper()
	runtime.LockOSThread()
	home := open(t, "/proc/thread-self/ns/net")
	if err := unix.Setns(int(open(t, path).Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		runtime.UnlockOSThread()
	})
}

// NewNamespace returns the path of a new network namespace that goes with the
// test.
func NewNamespace(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	path := filepath.Join(t.TempDir(), "netns")
	if err := netdev.NewNamespace(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netdev.DeleteNamespace(path); err != nil {
			t.Error(err)
		}
	})
	return path
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}
