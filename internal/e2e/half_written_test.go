package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/internal/store"
)

// endProcesses kills everything in a lab's cgroup and waits for its end.
func endProcesses(l *lab.Lab) {
	l.Helper()
	l.Host.Eventually("every process has ended", func() error {
		pids := strings.Fields(readFile(l, filepath.Join(l.Cgroup, "cgroup.procs")))
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if number, err := strconv.Atoi(pid); err == nil {
				_ = unix.Kill(number, unix.SIGKILL)
			}
		}
		return errors.New(strings.Join(pids, " "))
	})
}

// powerCut takes away what does not outlive a machine: processes, mounts, the
// run directory, devices. The state stays.
func powerCut(l *lab.Lab) {
	l.Helper()
	l.StopDaemon(unix.SIGKILL)
	endProcesses(l)
	for id := range (&checker{Lab: l}).entries("run", "netns") {
		if err := unix.Unmount(filepath.Join(l.Root, "run", "netns", id), unix.MNT_DETACH); err != nil {
			l.Fatal(err)
		}
	}
	// Containers of other tests may have a copy of the mount, which would keep
	// the pins, and the programs attached.
	pins := must(filepath.Glob(filepath.Join(l.Root, "bpf", "v*")))
	for _, pin := range pins {
		if err := os.RemoveAll(pin); err != nil {
			l.Fatal(err)
		}
	}
	if err := unix.Unmount(filepath.Join(l.Root, "bpf"), unix.MNT_DETACH); err != nil {
		l.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(l.Root, "run")); err != nil {
		l.Fatal(err)
	}
	l.Host.Must(func() error {
		links, err := netlink.LinkList()
		for _, link := range links {
			if link.Attrs().Alias != deviceMark(l) {
				continue
			}
			// Veths go with their sandboxes meanwhile.
			if delErr := netlink.LinkDel(link); !errors.Is(delErr, unix.ENODEV) {
				err = errors.Join(err, delErr)
			}
		}
		return err
	})
	editStore(l, func(tx *store.Tx) error { return tx.Put("meta", "boot_id", "an earlier one") })
}

func TestReboot(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	busyHost(l)
	l.OK("run", "-d", "--rm", "--name=passing")
	powerCut(l)
	l.StartDaemon()
	expectInvariants(l)
	for name, want := range map[string]string{"net00": "exited 255", "net01": "exited 255", "test00": "exited 255", "created": "created 0"} {
		if got := l.OK("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if r := l.Sluice("inspect", "passing"); r.Code == 0 {
		t.Error("a container that was to be removed with its end is there")
	}
	expectUnreached(t, l.Client, lab.HostAddr+":8080")
	l.OK("run", "--rm", "-p", "8080:80", "true") // the port is free
	l.OK("start", "net00", "net01")
	greeting(l.Client, lab.HostAddr+":8080")
	expectInvariants(l)
}
