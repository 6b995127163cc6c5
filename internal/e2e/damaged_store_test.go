package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/container"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/internal/store"
)

// TestDamagedStore covers a database that cannot be read: the daemon says so in
// one line, the datapath goes on, and what it says to do works.
func TestDamagedStore(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	busyHost(l)
	conversation := newTalk(t, l.Client, lab.HostAddr+":8080")
	l.StopDaemon(unix.SIGKILL)
	refused := func(what string) {
		t.Helper()
		r := l.Host.Run(lab.Binary(t), "--root", l.Root, "daemon", "--log-level", "error", "--cgroup", l.Cgroup)
		expectLine(t, what, r, 1, "move it away")
		conversation.say("without a database")
	}
	whole, err := os.ReadFile(storePath(l))
	if err != nil {
		t.Fatal(err)
	}
	editStore(l, func(tx *store.Tx) error { return tx.PutRaw("networks", "f00", []byte("{half")) })
	refused("a record that does not parse")
	if err := os.Truncate(storePath(l), int64(len(whole)/2)); err != nil {
		t.Fatal(err)
	}
	refused("a file that was cut off")
	if err := os.Truncate(storePath(l), 5000); err != nil {
		t.Fatal(err)
	}
	refused("a file of one page")

	if err := os.Rename(storePath(l), filepath.Join(t.TempDir(), "damaged")); err != nil {
		t.Fatal(err)
	}
	l.StartDaemon()
	expectInvariants(l)
	if got := l.OK("ps", "-aq"); got != "" {
		t.Errorf("containers are left: %s", got)
	}
}

// TestResetOfADamagedStore: whoever wants everything gone need not repair it.
func TestResetOfADamagedStore(t *testing.T) {
	t.Parallel()
	for what, size := range map[string]int64{"one page": 5000, "half": 16384} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			l := lab.NewWithoutDaemon(t)
			before := stateOf(l)
			l.StartDaemon()
			busyHost(l)
			l.StopDaemon(unix.SIGKILL)
			if err := os.Truncate(storePath(l), size); err != nil {
				t.Fatal(err)
			}
			l.OK("system", "reset", "--force")
			expectState(t, stateOf(l), before)
		})
	}
}

// TestHalfWrittenState covers what a kill leaves between two writes.
func TestHalfWrittenState(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	busyHost(l)
	l.StopDaemon(unix.SIGKILL)
	in, err := readIntent(l)
	if err != nil {
		t.Fatal(err)
	}
	editStore(l, func(tx *store.Tx) error {
		for id, r := range in.containers {
			switch r.Name {
			case "created": // its command never was
				r.State, r.Pid = container.Running, os.Getpid()
			case "net01": // a start that was not noted
				r.State, r.Pid = container.Created, 0
			}
			if err := tx.Put("containers", id, r); err != nil {
				return err
			}
		}
		for id, n := range in.networks {
			if n.value.Driver == engine.DriverBridge && n.value.Name == "custombridge" {
				half := n.value
				half.ID, half.Name, half.Bridge, half.Index, half.Rule = id[1:]+"0", "half", "br-half", 77, 99
				return tx.Put("networks", half.ID, half)
			}
		}
		return nil
	})
	for id := range in.containers {
		if err := os.RemoveAll(filepath.Join(l.Root, "state", "containers", id)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"state/containers/f00", "run/shims/f00", "run/shims/f00-1", "run/netns/f00"} {
		if err := os.MkdirAll(filepath.Join(l.Root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(l.Root, "run", "daemon.lock"), []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.StartDaemon()
	expectInvariants(l)
	if got := l.OK("inspect", "--format", "{{.State.Status}} {{.State.Pid}}", "created"); got != "exited 0" {
		t.Errorf("the container without a shim is %s", got)
	}
	greeting(l.Client, lab.HostAddr+":8080")
	l.OK("start", "created", "net01")
	expectInvariants(l)
}
