package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

// TestInstancesDoNotShareANamespace covers a daemon of another root in the same
// network namespace: it is told so in one line, leaves nothing, and takes
// nothing away, whether the first one runs or not.
func TestInstancesDoNotShareANamespace(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	other := filepath.Join(t.TempDir(), "other")
	second := func(args ...string) lab.Result {
		args = append([]string{"--root", other}, args...)
		return l.Host.Run(lab.Binary(t), args...)
	}
	refused := func(when string) {
		t.Helper()
		expectLine(t, when, second("daemon", "--cgroup", l.Cgroup, "--metrics=off"), 1, l.Root)
		if _, err := os.Stat(other); !os.IsNotExist(err) {
			t.Errorf("%s: the other root is left: %v", when, err)
		}
		if r := second("system", "reset", "--force"); r.Code != 0 {
			t.Errorf("%s: reset of a root that was never used: %+v", when, r)
		}
		greeting(l.Client, lab.HostAddr+":8080")
		greeting(l.Host, "127.0.0.1:8080")
	}
	refused("while the first runs")
	l.StopDaemon(unix.SIGKILL)
	refused("while the first is dead")
	l.StartDaemon()
	l.OK("run", "-d", "--name=net01")
	l.OK("system", "reset", "--force")
	l.WaitDaemon()

	daemon := l.Host.Background(lab.Binary(t), "--root", other, "daemon", "--cgroup", l.Cgroup)
	l.Host.Eventually("the other daemon answers", func() error {
		if r := second("version"); r.Code != 0 {
			return fmt.Errorf("%s", r.Stderr)
		}
		return nil
	})
	if r := second("system", "reset", "--force"); r.Code != 0 {
		t.Errorf("reset of the other: %+v", r)
	}
	_ = daemon.Wait()
}

// TestOtherHost covers a daemon and a reset from another network namespace than
// the daemon before: they are refused while that one exists, and change nothing.
func TestOtherHost(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	greeting(l.Client, lab.HostAddr+":8080")
	conversation := newTalk(t, l.Client, lab.HostAddr+":8080")
	l.StopDaemon(unix.SIGKILL)
	elsewhere := lab.NewNamespace(t, "elsewhere")
	before := elsewhere.Output("ip", "-br", "link")
	for _, args := range [][]string{{"daemon", "--cgroup", l.Cgroup}, {"system", "reset", "--force"}} {
		r := elsewhere.Run(lab.Binary(t), append([]string{"--root", l.Root}, args...)...)
		expectLine(t, args[0], r, 1, "nsenter --net=")
		if after := elsewhere.Output("ip", "-br", "link"); after != before {
			t.Errorf("%v makes devices: %s", args, after)
		}
		conversation.say("after " + args[0])
		greeting(l.Client, lab.HostAddr+":8080")
	}
	l.StartDaemon()
	greeting(l.Client, lab.HostAddr+":8080")
}

// TestUserCannotKeepTheDaemonAway covers an ordinary user who has the name that
// daemons claim a network namespace by.
func TestUserCannotKeepTheDaemonAway(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	l.Host.Must(func() error { // on a thread that ends with it
		const nobody = 65534
		if _, _, err := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); err != 0 {
			return err
		}
		listener, err := net.Listen("unix", "@sluice-daemon")
		if err == nil {
			t.Cleanup(func() { listener.Close() })
		}
		return err
	})
	l.StartDaemon()
	l.OK("run", "--rm", "true")
}

// TestRootByAnotherName covers an instance whose next daemon is given the path of
// the root by a symbolic link, and the one after that the path itself: it is
// the same instance, and its containers keep their networks.
func TestRootByAnotherName(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("network", "create", "custom")
	runServer(l, "net00", "tcp-echo", ":80", "--net=custom", "--net-alias=rr", "-p", "8080:80")
	address := addressOf(l, "net00", "custom")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(l.Root, link); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{link, l.Root} {
		l.StopDaemon(unix.SIGKILL)
		l.Root = root
		l.StartDaemon()
		if got := addressOf(l, "net00", "custom"); got != address {
			t.Errorf("after a start in %s: the address is %q, want %q", root, got, address)
		}
		if got := l.OK("port", "net00", "80"); got != "0.0.0.0:8080" {
			t.Errorf("after a start in %s: port 80 is published at %q", root, got)
		}
		l.OK("run", "--rm", "--net=custom", "--", "getent", "hosts", "net00", "rr")
		greeting(l.Client, lab.HostAddr+":8080")
	}
	l.OK("stop", "net00")
	l.OK("start", "net00")
	greeting(l.Client, lab.HostAddr+":8080")
	expectInvariants(l)
}

// TestRootOfSomebodyElse covers a root directory with files of others where ours
// would be: a daemon refuses it, and neither its end nor a reset takes them away.
func TestRootOfSomebodyElse(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	for _, dir := range []string{"run", "state", "run/netns", "state/lib"} {
		root := t.TempDir()
		file := filepath.Join(root, dir, "file")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r := l.Host.Run("timeout", "10", lab.Binary(t), "--root", root, "daemon", "--cgroup", l.Cgroup)
		expectLine(t, dir, r, 1, "a directory of its own")
		if r := l.Host.Run(lab.Binary(t), "--root", root, "system", "reset", "--force"); r.Code != 0 {
			t.Errorf("%s: reset: %+v", dir, r)
		}
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
		if entries, err := os.ReadDir(root); err != nil || len(entries) != 1 {
			t.Errorf("%s: the root has %v (%v)", dir, entries, err)
		}
	}
}
