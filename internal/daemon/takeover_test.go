package daemon

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/metrics"
	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/netdev/netdevtest"
)

// holder, in the environment, makes this binary hold that lock, and what else one
// daemon has at a time, and start programs all the time.
const holder = "DAEMON_TEST_HOLDER"

func TestMain(m *testing.M) {
	if lock := os.Getenv(holder); lock != "" {
		fmt.Println(holdAndFork(lock))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// holdings are what a daemon holds from its start to its end.
type holdings struct {
	lock           *os.File
	claim, scrapes net.Listener
}

func hold(lock string) (h holdings, err error) {
	if h.lock, err = takeLock(lock); err != nil {
		return h, err
	}
	if h.claim, err = claimNamespace(lock); err != nil {
		return h, err
	}
	h.scrapes, err = metrics.Listen(metrics.DefaultAddress)
	return h, err
}

func holdAndFork(lock string) error {
	if _, err := hold(lock); err != nil {
		return err
	}
	failed := make(chan error)
	for range 4 {
		go func() {
			for {
				if err := exec.Command("true").Run(); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	fmt.Println("holds")
	return <-failed
}

// TestNextTakesOver covers daemons that are killed while they start programs: the
// next one starts at once. All are processes of their own, since whatever else this
// one would start has what it holds.
func TestNextTakesOver(t *testing.T) {
	t.Parallel()
	namespace, lock := netdevtest.NewNamespace(t), filepath.Join(t.TempDir(), "lock")
	for range 100 {
		killHolder(t, namespace, lock)
	}
}

func killHolder(t *testing.T, namespace, lock string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holder+"="+lock)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := netdev.InNamespace(namespace, cmd.Start); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 1<<10)
	n, _ := stdout.Read(said)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if s := strings.TrimSpace(string(said[:n])); s != "holds" {
		t.Fatal(s)
	}
}
