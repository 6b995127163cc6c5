package netdev_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/netdev/netdevtest"
)

var testBridge6 = netdev.Bridge{Name: testBridge.Name, Address: testBridge.Address, Address6: netip.MustParsePrefix("fd00:30::1/64")}

func testVeth6(sandbox string, n int) netdev.Veth {
	v := testVeth(sandbox, n)
	addr := netip.MustParseAddr("fd00:30::").As16()
	addr[15] = byte(n)
	v.Address6, v.Gateway6 = netip.PrefixFrom(netip.AddrFrom16(addr), 64), testBridge6.Address6.Addr()
	return v
}

func ensureBridge6(t *testing.T, host *netdev.Host) {
	t.Helper()
	if _, err := host.EnsureBridge(testBridge6); err != nil {
		t.Fatal(err)
	}
}

// addresses6 lists the IPv6 addresses of a device. None but the link-local one,
// for a moment, may wait for duplicate address detection.
func addresses6(t *testing.T, device string) string {
	t.Helper()
	link, err := netlink.LinkByName(device)
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, a := range addrs {
		found = append(found, a.IPNet.String())
		if a.Flags&unix.IFA_F_TENTATIVE != 0 && !a.IP.IsLinkLocalUnicast() {
			t.Errorf("%s waits on %s", a.IPNet, device)
		}
	}
	return strings.Join(found, " ")
}

// TestIPv6ConnectsSandboxes covers the addresses and routes of both ends, which
// can be used at once.
func TestIPv6ConnectsSandboxes(t *testing.T) {
	t.Parallel()
	one, two := netdevtest.NewNamespace(t), netdevtest.NewNamespace(t)
	host := open(t)
	ensureBridge6(t, host)
	if got := addresses6(t, testBridge.Name); got != "fd00:30::1/64" {
		t.Errorf("the bridge has %s before it has a port", got)
	}
	for range 2 { // the second time there is nothing to repair
		ensureVeth(t, host, testVeth6(one, 2))
		ensureVeth(t, host, testVeth6(two, 3))
	}
	for setting, want := range map[string]string{"disable_ipv6": "0", "forwarding": "0", "accept_ra": "0"} {
		wantSysctl(t, "ipv6/conf/br-test/"+setting, want)
	}
	wantSysctl(t, "ipv6/conf/veth0000002/disable_ipv6", "1")

	gateway, err := net.Listen("tcp", "[fd00:30::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	netdevtest.EnterPath(t, one)
	if got, want := addresses6(t, "eth0"), "fd00:30::2/64 fe80::42:acff:fe1e:2/64"; got != want {
		t.Errorf("eth0 has %s, want %s", got, want)
	}
	for setting, want := range map[string]string{"disable_ipv6": "0", "accept_ra": "0", "accept_redirects": "0"} {
		wantSysctl(t, "ipv6/conf/eth0/"+setting, want)
	}
	routes, err := netlink.RouteGet(net.ParseIP("2001:db8::1"))
	if err != nil || len(routes) != 1 || routes[0].Gw.String() != "fd00:30::1" {
		t.Errorf("route outside: %v, %v", routes, err)
	}
	exchange(t, gateway)
	peer, err := net.Listen("tcp", "[fd00:30::2]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	netdevtest.EnterPath(t, two)
	exchange(t, peer)
}

// TestIPv6IsRepaired covers what is lost when a device goes down.
func TestIPv6IsRepaired(t *testing.T) {
	t.Parallel()
	sandbox := netdevtest.NewNamespace(t)
	host := open(t)
	ensureBridge6(t, host)
	ensureVeth(t, host, testVeth6(sandbox, 2))
	bridge, err := netlink.LinkByName(testBridge.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(netlink.LinkSetDown(bridge), netlink.LinkSetUp(bridge)); err != nil {
		t.Fatal(err)
	}
	if intact, err := host.BridgeIntact(testBridge6); err != nil || intact {
		t.Errorf("a bridge without its IPv6 address passes for whole: %v, %v", intact, err)
	}
	ensureBridge6(t, host)
	ensureVeth(t, host, testVeth6(sandbox, 2))
	if intact, err := host.BridgeIntact(testBridge6); err != nil || !intact {
		t.Errorf("BridgeIntact = %v, %v after the repair", intact, err)
	}
	neighbours := permanent6(t, bridge)
	if len(neighbours) != 1 || neighbours[0] != "fd00:30::2 02:42:ac:1e:00:02" {
		t.Errorf("neighbours: %v", neighbours)
	}
	v := testVeth6(sandbox, 2)
	if err := host.DeleteNeighbour(v.Bridge, v.Address6.Addr()); err != nil {
		t.Fatal(err)
	}
	if left := permanent6(t, bridge); len(left) != 0 {
		t.Errorf("neighbours left: %v", left)
	}
}

func permanent6(t *testing.T, link netlink.Link) (found []string) {
	t.Helper()
	all, err := netlink.NeighList(link.Attrs().Index, netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range all {
		if n.State == netlink.NUD_PERMANENT {
			found = append(found, n.IP.String()+" "+n.HardwareAddr.String())
		}
	}
	return found
}

// TestLendingDeviceSparesAdvertisedRoutes covers the default route that a router
// on the host's link gave: no repair takes it away.
func TestLendingDeviceSparesAdvertisedRoutes(t *testing.T) {
	t.Parallel()
	router := netdevtest.NewNamespace(t)
	host := open(t)
	learnRoute(t, router)
	for _, damaged := range []bool{false, true} {
		if damaged {
			write(t, "ipv6/conf/sluice-fib/forwarding", "0")
		}
		if _, err := host.EnsureLendingDevice(); err != nil {
			t.Fatal(err)
		}
		wantSysctl(t, "ipv6/conf/sluice-fib/forwarding", "1")
		ensureBridge6(t, host)
		if !hasDefaultRoute6(t) {
			t.Errorf("the host's default route is gone; damaged: %v", damaged)
		}
	}
	// What must not be written.
	write(t, "ipv6/conf/br-test/forwarding", "1")
	if hasDefaultRoute6(t) {
		t.Error("the kernel keeps advertised routes now: the device need not be made anew")
	}
}

func write(t *testing.T, path, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// waitUntilUp waits until the kernel has noticed that a device has a carrier.
func waitUntilUp(t *testing.T, device string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		link, err := netlink.LinkByName(device)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%s is not up: %v", device, err)
		}
		if link.Attrs().OperState == netlink.OperUp {
			return
		}
	}
}

func TestAnnounce(t *testing.T) {
	t.Parallel()
	one, two := netdevtest.NewNamespace(t), netdevtest.NewNamespace(t)
	host := open(t)
	ensureBridge6(t, host)
	ensureVeth(t, host, testVeth6(one, 2))
	ensureVeth(t, host, testVeth6(two, 3))
	waitUntilUp(t, testVeth6(two, 3).Name)
	netdevtest.EnterPath(t, two)
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	stale := &netlink.Neigh{LinkIndex: eth0.Attrs().Index, IP: net.ParseIP("fd00:30::2"), State: netlink.NUD_REACHABLE, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}}
	if err := netlink.NeighSet(stale); err != nil {
		t.Fatal(err)
	}
	if err := host.Announce(testVeth6(one, 2)); err != nil {
		t.Fatal(err)
	}
	var learned string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		found, err := netlink.NeighList(eth0.Attrs().Index, netlink.FAMILY_V6)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range found {
			if n.IP.Equal(stale.IP) {
				learned = n.HardwareAddr.String()
			}
		}
		if learned == "02:42:ac:1e:00:02" {
			return
		}
	}
	t.Errorf("the neighbour remembers %s", learned)
}

func TestRequireIPv6(t *testing.T) {
	t.Parallel()
	netdevtest.Enter(t)
	if err := netdev.RequireIPv6(); err != nil {
		t.Errorf("RequireIPv6 = %v", err)
	}
	write(t, "ipv6/conf/all/disable_ipv6", "1")
	if err := netdev.RequireIPv6(); !errors.Is(err, netdev.ErrIPv6Off) {
		t.Errorf("RequireIPv6 = %v", err)
	}
	withoutIPv6(t)
	if err := netdev.RequireIPv6(); !errors.Is(err, netdev.ErrNoIPv6) {
		t.Errorf("RequireIPv6 = %v", err)
	}
}

// TestKernelWithoutIPv6 covers what an IPv4 network needs nothing of.
func TestKernelWithoutIPv6(t *testing.T) {
	t.Parallel()
	sandbox := netdevtest.NewNamespace(t)
	host := open(t)
	withoutIPv6(t)
	if _, err := host.EnsureLendingDevice(); err != nil {
		t.Error(err)
	}
	ensureBridge(t, host)
	ensureVeth(t, host, testVeth(sandbox, 2))
}

// withoutIPv6 hides the settings of IPv6 from the test's thread, as a kernel that
// was booted with ipv6.disable=1 has none.
func withoutIPv6(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // once more: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	hidden := t.TempDir()
	if err := errors.Join(
		unix.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		unix.Mount(hidden, "/proc/sys/net/ipv6", "", unix.MS_BIND, ""),
	); err != nil {
		t.Fatal(err)
	}
}
