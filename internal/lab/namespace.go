// Package lab builds small networks out of network namespaces for tests: a
// host that runs the daemon, and a client beyond its uplink. Nothing in it
// touches the machine's own network namespace.
package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace that lives until its test ends.
type Namespace struct {
	t    testing.TB
	Path string // where it is mounted
	// Cgroup, when set, is the cgroup v2 directory that its processes are in.
	Cgroup string
}

// NewNamespace makes a network namespace whose loopback device is up.
func NewNamespace(t testing.TB, name string) *Namespace {
	t.Helper()
	n := &Namespace{t: t, Path: filepath.Join(t.TempDir(), name)}
	if err := os.WriteFile(n.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w (these tests need root)", err)
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(lo); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", n.Path, "", unix.MS_BIND, "")
	})
	if err != nil {
		t.Fatalf("make the namespace %s: %v", name, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(n.Path, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount the namespace %s: %v", name, err)
		}
	})
	return n
}

// NamespaceAt is a network namespace that somebody else made and will remove.
func NamespaceAt(t testing.TB, path string) *Namespace { return &Namespace{t: t, Path: path} }

// onThread runs fn on a thread of its own that ends with it.
func onThread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is thrown away
		done <- fn()
	}()
	return <-done
}

// Do runs fn on a thread that is in the namespace. What fn starts or opens
// stays there.
func (n *Namespace) Do(fn func() error) error {
	return onThread(func() error {
		ns, err := os.Open(n.Path)
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter %s: %w", n.Path, err)
		}
		return fn()
	})
}

// Must is Do for what may not fail.
func (n *Namespace) Must(fn func() error) {
	n.t.Helper()
	if err := n.Do(fn); err != nil {
		n.t.Fatal(err)
	}
}

// Start starts a command in the namespace and in its cgroup.
func (n *Namespace) Start(cmd *exec.Cmd) error {
	if n.Cgroup == "" {
		return n.Do(cmd.Start)
	}
	cgroup, err := os.Open(n.Cgroup)
	if err != nil {
		return err
	}
	defer cgroup.Close()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD = true
	cmd.SysProcAttr.CgroupFD = int(cgroup.Fd())
	return n.Do(cmd.Start)
}

// Veth connects two namespaces: a has the device aName, b has bName.
func Veth(a *Namespace, aName string, b *Namespace, bName string) {
	a.t.Helper()
	a.Must(func() error {
		peer, err := os.Open(b.Path)
		if err != nil {
			return err
		}
		defer peer.Close()
		err = netlink.LinkAdd(&netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: aName},
			PeerName:      bName,
			PeerNamespace: netlink.NsFd(peer.Fd()),
		})
		if err != nil {
			return err
		}
		return up(aName)
	})
	b.Must(func() error { return up(bName) })
}

func up(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// Address gives a device an address in CIDR notation, which it has at once.
func (n *Namespace) Address(device, cidr string) {
	n.t.Helper()
	n.Must(func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD
		}
		return netlink.AddrAdd(l, addr)
	})
}

// Route adds a route by a gateway; dst "" is the default route.
func (n *Namespace) Route(dst, gateway string) {
	n.t.Helper()
	n.Must(func() error {
		route := &netlink.Route{Gw: parseIP(gateway)}
		if dst != "" {
			to, err := netlink.ParseIPNet(dst)
			if err != nil {
				return err
			}
			route.Dst = to
		}
		return netlink.RouteAdd(route)
	})
}
