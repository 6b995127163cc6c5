package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Addresses of the lab's one wire, of both families. Far is an address of the
// client beyond it, which the host reaches by its default route.
const (
	HostAddr   = "192.0.2.1"
	ClientAddr = "192.0.2.2"
	FarAddr    = "198.51.100.7"

	HostAddr6   = "2001:db8:2::1"
	ClientAddr6 = "2001:db8:2::2"
	FarAddr6    = "2001:db8:100::7"
)

// Lab is a host with a daemon, and a client on the other end of its uplink.
type Lab struct {
	*testing.T
	Host, Client *Namespace
	Root         string // the instance's --root
	Cgroup       string
	// Version is the sluice that daemons are started with, "" for the one of this tree.
	Version string

	daemon *exec.Cmd
	log    *os.File
}

// New builds the two namespaces and starts a daemon in the host.
func New(t *testing.T, daemonArgs ...string) *Lab {
	t.Helper()
	l := NewWithoutDaemon(t)
	l.StartDaemon(daemonArgs...)
	return l
}

// NewWithoutDaemon builds the two namespaces. When the test ends the instance
// is reset, and it is an error if anything is left.
func NewWithoutDaemon(t *testing.T) *Lab {
	t.Helper()
	l := &Lab{T: t, Root: t.TempDir()}
	l.Host, l.Client = NewNamespace(t, "host"), NewNamespace(t, "client")
	Veth(l.Host, "eth0", l.Client, "eth0")
	l.Host.Address("eth0", HostAddr+"/24")
	l.Client.Address("eth0", ClientAddr+"/24")
	l.Client.Address("lo", FarAddr+"/32")
	l.Host.Route("", ClientAddr)
	l.Host.Address("eth0", HostAddr6+"/64")
	l.Client.Address("eth0", ClientAddr6+"/64")
	l.Client.Address("lo", FarAddr6+"/128")
	l.Host.Route("", ClientAddr6)
	l.makeCgroup()
	l.Host.Cgroup = l.Cgroup
	log, err := os.Create(filepath.Join(t.TempDir(), "daemon.log"))
	if err != nil {
		t.Fatal(err)
	}
	l.log = log
	t.Cleanup(l.end)
	return l
}

// cgroup2 is where the machine's cgroup v2 hierarchy is mounted.
var cgroup2 = sync.OnceValues(func() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(mounts), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[2] == "cgroup2" {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("no cgroup2 is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")
})

func (l *Lab) makeCgroup() {
	l.Helper()
	root, err := cgroup2()
	if err != nil {
		l.Fatal(err)
	}
	l.Cgroup, err = os.MkdirTemp(root, "sluice-test-")
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		l.Host.Eventually("the kernel has buried the last process of the cgroup", func() error { return unix.Rmdir(l.Cgroup) })
	})
}

// StartDaemon starts the daemon and waits until it answers.
func (l *Lab) StartDaemon(args ...string) {
	l.Helper()
	l.LaunchDaemon(args...)
	l.Host.Eventually("the daemon answers", func() error {
		if r := l.Sluice("version"); r.Code != 0 {
			return fmt.Errorf("%s", r.Stderr)
		}
		return nil
	})
}

// LaunchDaemon starts the daemon and does not wait for it.
func (l *Lab) LaunchDaemon(args ...string) {
	l.Helper()
	all := append([]string{"daemon", "--root", l.Root, "--cgroup", l.Cgroup, "--log-level", "debug"}, args...)
	binary := l.Version
	if binary == "" {
		binary = Binary(l.T)
	}
	l.daemon = exec.Command(binary, all...)
	l.daemon.Stdout, l.daemon.Stderr = l.log, l.log
	if err := l.Host.Start(l.daemon); err != nil {
		l.Fatal(err)
	}
}

// StopDaemon ends the daemon by a signal and waits for its end.
func (l *Lab) StopDaemon(signal unix.Signal) {
	l.Helper()
	if l.daemon == nil {
		return
	}
	if err := l.daemon.Process.Signal(signal); err != nil {
		l.Logf("signal the daemon: %v", err)
	}
	_ = l.daemon.Wait()
	l.daemon = nil
}

// WaitDaemon waits for the end of a daemon that was told to reset.
func (l *Lab) WaitDaemon() {
	l.Helper()
	_ = l.daemon.Wait()
	l.daemon = nil
}

// Daemon is the daemon's process ID.
func (l *Lab) Daemon() int { return l.daemon.Process.Pid }

// Sluice runs the CLI against the lab's daemon.
func (l *Lab) Sluice(args ...string) Result {
	l.Helper()
	return l.Host.Run(Binary(l.T), append([]string{"--root", l.Root}, args...)...)
}

// OK runs the CLI, which must succeed, and returns its output without the
// last newline.
func (l *Lab) OK(args ...string) string {
	l.Helper()
	return l.Host.Output(Binary(l.T), append([]string{"--root", l.Root}, args...)...)
}

// end resets the instance, with the daemon or without.
func (l *Lab) end() {
	if l.Failed() {
		l.Log(l.Sluice("nat").Stdout)
		l.Log(l.Sluice("system", "info").Stdout)
	}
	if r := l.Sluice("system", "reset", "--force"); r.Code != 0 {
		l.Errorf("system reset: %s", r.Stderr)
	}
	l.StopDaemon(unix.SIGKILL)
	if l.Failed() {
		log, _ := os.ReadFile(l.log.Name())
		l.Logf("the daemon's log:\n%s", log)
	}
	l.log.Close()
	l.expectNoMounts()
}

// expectNoMounts checks that nothing of the instance is mounted any more.
func (l *Lab) expectNoMounts() {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		l.Fatal(err)
	}
	for _, line := range strings.Split(string(mounts), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 1 && strings.HasPrefix(fields[1], l.Root+"/") {
			l.Errorf("still mounted after the reset: %s", line)
			_ = unix.Unmount(fields[1], unix.MNT_DETACH)
		}
	}
}
