package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/dirs"
	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/internal/shim"
)

// expectLine asserts that a command failed with one line that says something.
func expectLine(t testing.TB, what string, r lab.Result, code int, says string) {
	t.Helper()
	if r.Code != code || strings.Count(r.Stderr, "\n") != 1 || !strings.Contains(r.Stderr, says) {
		t.Errorf("%s: exit code %d, want %d; said %q, want one line with %q", what, r.Code, code, r.Stderr, says)
	}
}

func TestNoDaemon(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	for _, args := range []string{"ps", "network ls", "nat", "inspect net00", "rm net00", "system info", "exec net00 true"} {
		expectLine(t, args, l.Sluice(strings.Fields(args)...), 1, "`sluice daemon`")
	}
	for _, args := range []string{"run true", "run -d", "create", "publish net00 1:1"} {
		expectLine(t, args, l.Sluice(strings.Fields(args)...), 125, "`sluice daemon`")
	}
	l.OK("system", "reset", "--force") // there is nothing, so that is no error
}

func TestSecondDaemon(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	expectLine(t, "a second daemon", l.Sluice("daemon"), 1, fmt.Sprintf("PID %d", l.Daemon()))
	l.OK("ps")
}

// startDaemon starts a daemon in its own way, and ends it with the test.
func startDaemon(l *lab.Lab, daemon *exec.Cmd) {
	l.Helper()
	if err := l.Host.Start(daemon); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	})
	l.Host.Eventually("the daemon answers", func() error {
		if r := l.Sluice("version"); r.Code != 0 {
			return fmt.Errorf("%s", r.Stderr)
		}
		return nil
	})
}

// TestDaemonsUmask covers a daemon that was started by somebody whose files
// nobody else may read: containers have Docker's umask, and whoever runs in them
// can look up names.
func TestDaemonsUmask(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	startDaemon(l, exec.Command("sh", "-c", fmt.Sprintf("umask 077; exec %s daemon --root %s --cgroup %s", lab.Binary(t), l.Root, l.Cgroup)))
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.Host.Output("cp", "/bin/busybox", filepath.Join(root, "bin", "busybox"))
	l.OK("network", "create", "custom")
	l.OK("run", "-d", "--name=net00", "--net=custom")
	const read = "umask; setpriv --reuid=65534 --regid=65534 --clear-groups cat /etc/hosts /etc/resolv.conf /etc/hostname >/dev/null"
	for _, verb := range [][]string{{"run", "--rm", "--net=custom"}, {"exec", "net00"}} {
		if got := l.OK(slices.Concat(verb, []string{"sh", "-c", read})...); got != "0022" {
			t.Errorf("%s: umask %s", verb[0], got)
		}
	}
	got := l.OK("run", "--rm", "--net=custom", "--rootfs="+root, "/bin/busybox", "stat", "-c", "%a", "/etc", "/etc/hosts", "/etc/resolv.conf")
	if got != "755\n644\n644" {
		t.Errorf("in a root directory: %s", got)
	}
}

// TestLogReaderIsGone covers a daemon whose log nobody reads any more, as one of
// `sluice daemon 2>&1 | tee log` when tee has ended: it goes on, and its
// containers' commands have SIGPIPE as ever.
func TestLogReaderIsGone(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(lab.Binary(t), "daemon", "--root", l.Root, "--cgroup", l.Cgroup)
	daemon.Stderr = write
	startDaemon(l, daemon)
	write.Close()
	read.Close()
	l.OK("network", "create", "custom") // is logged
	mask := l.OK("run", "--rm", "--", "grep", "SigIgn", "/proc/self/status")
	if ignored, err := lab.IgnoredSignals(mask); err != nil || ignored != 0 {
		t.Errorf("the command has signals %#x ignored (%v)", ignored, err)
	}
}

// TestEndedWhileItStarts covers a daemon that is told to end as soon as it has
// begun to start, unless it is faster: it says so, and leaves nothing.
func TestEndedWhileItStarts(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	root := filepath.Join(t.TempDir(), "root")
	var stderr strings.Builder
	daemon := exec.Command(lab.Binary(t), "daemon", "--root", root, "--cgroup", l.Cgroup)
	daemon.Stderr = &stderr
	if err := l.Host.Start(daemon); err != nil {
		t.Fatal(err)
	}
	l.Host.Eventually("the daemon begins to start", func() error {
		_, err := os.Stat(dirs.New(root).Lock())
		return err
	})
	if err := daemon.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait()
	if daemon.ProcessState.ExitCode() == 0 {
		l.Host.Output(lab.Binary(t), "--root", root, "system", "reset", "--force")
		return
	}
	if lines := strings.Split(strings.TrimSpace(stderr.String()), "\n"); lines[len(lines)-1] != "sluice: told to end before it was ready" {
		t.Errorf("%v; said %q", daemon.ProcessState, stderr.String())
	}
	if _, err := os.Stat(root); !os.IsNotExist(err) {
		t.Errorf("the root is left: %v", err)
	}
}

// runAsNobody runs the CLI without any privilege.
func runAsNobody(l *lab.Lab, args ...string) lab.Result {
	l.Helper()
	return l.Host.Run("setpriv", append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", lab.Binary(l.T), "--root", l.Root}, args...)...)
}

func TestWithoutRoot(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	expectLine(t, "daemon", runAsNobody(l, "daemon"), 1, "root")
	expectLine(t, "reset", runAsNobody(l, "system", "reset", "--force"), 1, "root")
	l.StartDaemon()
	expectLine(t, "ps", runAsNobody(l, "ps"), 1, "root")
	expectLine(t, "run", runAsNobody(l, "run", "true"), 125, "root")
}

// TestPrivateMounts covers a daemon in a mount namespace that will end before
// its pins should, and one whose bpffs was mounted outside.
func TestPrivateMounts(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	daemon := []string{"-m", lab.Binary(t), "--root", l.Root, "daemon", "--cgroup", l.Cgroup}
	r := l.Host.Run("unshare", daemon...)
	expectLine(t, "private mounts", r, 1, "bpffs")
	if left, err := os.ReadDir(l.Root); err != nil || len(left) != 0 {
		t.Errorf("what the refused daemon leaves: %v, %v", left, err)
	}

	dir := filepath.Join(l.Root, "bpf")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	l.Host.Background("unshare", daemon...)
	l.Host.Eventually("the daemon answers", func() error {
		if r := l.Sluice("version"); r.Code != 0 {
			return fmt.Errorf("%s", r.Stderr)
		}
		return nil
	})
}

// TestBadDaemonFlags covers flags that can never work: nothing has been made
// when they are refused.
func TestBadDaemonFlags(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	for flag, says := range map[string]string{
		"--cgroup=" + l.Root:       l.Root,
		"--cgroup=/nonexistent":    "/nonexistent",
		"--attach=nonsense":        "nonsense",
		"--log-level=nonsense":     "nonsense",
		"--shim=/nonexistent":      "/nonexistent",
		"--shim=/tmp":              "/tmp is not a program",
		"--shim=/proc/version":     "/proc/version is not a program",
		"--dns-upstream=nonsense":  "nonsense",
		"--metrics=nonsense":       "nonsense",
		"--repair-interval=0s":     "0s",
		"--repair-interval=-5s":    "-5s",
		"--repair-interval=sooner": "sooner",
	} {
		r := l.Host.Run(lab.Binary(t), "--root", l.Root, "daemon", "--cgroup", l.Cgroup, flag)
		expectLine(t, flag, r, 1, says)
		expectNothingMade(l, flag)
	}
}

// TestFirstStartFails covers a start that fails late, for the host's routes
// leave no subnet to the default network.
func TestFirstStartFails(t *testing.T) {
	t.Parallel()
	for _, attach := range []string{"tcx", "clsact"} {
		t.Run(attach, func(t *testing.T) {
			t.Parallel()
			l := lab.NewWithoutDaemon(t)
			for _, pool := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} {
				l.Host.Route(pool, lab.ClientAddr)
			}
			r := l.Host.Run(lab.Binary(t), "--root", l.Root, "daemon", "--cgroup", l.Cgroup, "--attach", attach)
			if r.Code != 1 || !strings.Contains(r.Stderr, "the default network could not be made") {
				t.Errorf("exit code %d, said %q", r.Code, r.Stderr)
			}
			expectNothingMade(l, "a first start")
			if filters := l.Host.Output("tc", "filter", "show", "dev", "eth0", "ingress"); filters != "" {
				t.Errorf("what is left on the uplink: %s", filters)
			}
		})
	}
}

// expectNothingMade asserts that a daemon that ended has left neither files nor
// devices.
func expectNothingMade(l *lab.Lab, what string) {
	l.Helper()
	left, err := os.ReadDir(l.Root)
	if err != nil || len(left) != 0 {
		l.Errorf("%s leaves %v, %v", what, left, err)
	}
	if links := l.Host.Output("ip", "-br", "link"); strings.Contains(links, "sluice") {
		l.Errorf("%s leaves devices: %s", what, links)
	}
}

// TestDaemonDies covers the time without a daemon, and the next one.
func TestDaemonDies(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]unix.Signal{"killed": unix.SIGKILL, "stopped": unix.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t)
			l.OK("network", "create", "--subnet=172.20.0.0/16", "custombridge")
			runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
			l.OK("run", "-d", "--name=net01", "--network=custombridge")
			mayEnd := filepath.Join(t.TempDir(), "may end")
			ends := l.OK("run", "-d", "--name=ends", "sh", "-c", "until [ -e '"+mayEnd+"' ]; do sleep 0.02; done; exit 5")
			greeting(l.Client, lab.HostAddr+":8080")
			before := inspect(l, "net00")
			conversation := newTalk(t, l.Client, lab.HostAddr+":8080")

			l.StopDaemon(signal)
			conversation.say("while the daemon is away")
			for range 5 {
				greeting(l.Client, lab.HostAddr+":8080")
				greeting(l.Host, "127.0.0.1:8080")
			}
			if err := os.WriteFile(mayEnd, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			l.Host.Eventually("one container ends", func() error {
				_, err := shim.ReadExit(dirs.New(l.Root).Shim(ends))
				return err
			})
			l.StartDaemon()
			conversation.say("when it is back")

			after := inspect(l, "net00")
			if after.State != before.State || after.NetworkSettings.EndpointID != before.NetworkSettings.EndpointID {
				t.Errorf("net00:\nbefore %+v\nafter  %+v", before, after)
			}
			if got := inspect(l, "ends").State; got.Status != "exited" || got.ExitCode != 5 {
				t.Errorf("the container that ended meanwhile: %+v", got)
			}
			if r := natRule(l, "publish", "net00"); r.Packets < 7 {
				t.Errorf("the counters began anew: %+v", r)
			}
			l.OK("run", "-d", "--name=net02", "--network=custombridge")
			if got := addressOf(l, "net02", "custombridge"); got != "172.20.0.3" {
				t.Errorf("net02 has %s", got)
			}
			l.OK("exec", "net01", "busybox", "ping", "-c", "1", "-W", "5", "172.20.0.3")
			l.OK("rm", "-f", "net00", "net01", "net02", "ends")
			expectUnreached(t, l.Client, lab.HostAddr+":8080")
			l.OK("network", "rm", "custombridge")
		})
	}
}

// TestNoConnectionIsLostInARestart makes connections all the time while
// daemons come and go.
func TestNoConnectionIsLostInARestart(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	greeting(l.Client, lab.HostAddr+":8080")
	loop := exec.Command(selfPath, "tcp-ask-loop", lab.HostAddr+":8080", "600", "5ms")
	var output strings.Builder
	loop.Stdout, loop.Stderr = &output, &output
	if err := l.Client.Start(loop); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []unix.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGKILL} {
		l.StopDaemon(signal)
		l.StartDaemon()
	}
	if err := loop.Wait(); err != nil {
		t.Errorf("%v: %s", err, output.String())
	}
}
