package netdev_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/netdev/netdevtest"
	"github.com/vishvananda/netlink"
)

var testBridge = netdev.Bridge{Name: "br-test", Address: netip.MustParsePrefix("172.30.0.1/24")}

func testVeth(sandbox string, n int) netdev.Veth {
	addr := netip.AddrFrom4([4]byte{172, 30, 0, byte(n)})
	return netdev.Veth{
		Name:    fmt.Sprintf("veth%07x", n),
		Bridge:  testBridge.Name,
		Sandbox: sandbox,
		Device:  "eth0",
		MAC:     netdev.MACFor(addr),
		Address: netip.PrefixFrom(addr, 24),
		Gateway: testBridge.Address.Addr(),
	}
}

// patience bounds what a test waits for: a busy machine takes its time.
const patience = 30 * time.Second

// open connects to a new namespace that the test is in from now on.
func open(t *testing.T) *netdev.Host {
	t.Helper()
	netdevtest.Enter(t)
	host, err := netdev.Open("test", filepath.Join(t.TempDir(), "borrowed"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	return host
}

func ensureBridge(t *testing.T, host *netdev.Host) int {
	t.Helper()
	ifindex, err := host.EnsureBridge(testBridge)
	if err != nil {
		t.Fatal(err)
	}
	return ifindex
}

func ensureVeth(t *testing.T, host *netdev.Host, v netdev.Veth) int {
	t.Helper()
	ifindex, err := host.EnsureVeth(v)
	if err != nil {
		t.Fatal(err)
	}
	return ifindex
}

func wantSysctl(t *testing.T, path, want string) {
	t.Helper()
	raw, err := os.ReadFile("/proc/sys/net/" + path)
	if err != nil || strings.TrimSpace(string(raw)) != want {
		t.Errorf("%s = %q, %v, want %s", path, raw, err, want)
	}
}

// exchange sends a line from the current namespace to addr, where listener
// is.
func exchange(t *testing.T, listener net.Listener) {
	t.Helper()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			fmt.Fprint(conn, conn.RemoteAddr())
			conn.Close()
		}
	}()
	conn, err := net.DialTimeout("tcp", listener.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != conn.LocalAddr().String() {
		t.Errorf("answer %q, %v", got, err)
	}
}

func TestBridge(t *testing.T) {
	t.Parallel()
	host := open(t)
	ifindex := ensureBridge(t, host)
	link, err := netlink.LinkByName(testBridge.Name)
	if err != nil {
		t.Fatal(err)
	}
	if link.Attrs().HardwareAddr.String() != "02:42:ac:1e:00:01" || link.Attrs().Flags&net.FlagUp == 0 {
		t.Errorf("bridge: %+v", link.Attrs())
	}
	wantSysctl(t, "ipv4/conf/br-test/forwarding", "0")
	wantSysctl(t, "ipv4/conf/br-test/route_localnet", "1")
	wantSysctl(t, "ipv6/conf/br-test/disable_ipv6", "1")

	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	wantSysctl(t, "ipv4/conf/br-test/forwarding", "1")
	if err := host.RepairBridge(testBridge); err != nil {
		t.Fatal(err)
	}
	wantSysctl(t, "ipv4/conf/br-test/forwarding", "0")

	if err := netlink.LinkSetDown(link); err != nil {
		t.Fatal(err)
	}
	if again := ensureBridge(t, host); again != ifindex {
		t.Errorf("the bridge was made anew: %d, was %d", again, ifindex)
	}
	for range 2 {
		if err := host.DeleteDevice(testBridge.Name); err != nil {
			t.Fatal(err)
		}
	}
	if gone, err := host.Ifindex(testBridge.Name); gone != 0 || err != nil {
		t.Errorf("after deletion: %d, %v", gone, err)
	}
}

func TestBridgeLeavesOtherDevicesAlone(t *testing.T) {
	t.Parallel()
	host := open(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = testBridge.Name
	veth := netlink.NewVeth(attrs)
	veth.PeerName = "other"
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	if _, err := host.EnsureBridge(testBridge); !errors.Is(err, netdev.ErrWrongKind) {
		t.Errorf("EnsureBridge over a veth: %v", err)
	}
}

func TestLendingDevice(t *testing.T) {
	t.Parallel()
	host := open(t)
	first, err := host.EnsureLendingDevice()
	if err != nil {
		t.Fatal(err)
	}
	second, err := host.EnsureLendingDevice()
	if err != nil || first != second {
		t.Errorf("%d, then %d, %v", first, second, err)
	}
	wantSysctl(t, "ipv4/conf/sluice-fib/forwarding", "1")
	wantSysctl(t, "ipv4/ip_forward", "0")
	wantSysctl(t, "ipv6/conf/sluice-fib/forwarding", "1")
	wantSysctl(t, "ipv6/conf/all/forwarding", "0")
	wantSysctl(t, "ipv6/conf/default/forwarding", "0")

	// Somebody writes the global switch, or ours.
	for _, device := range []string{"all", "sluice-fib"} {
		for _, value := range []string{"1", "0"} {
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+device+"/forwarding", []byte(value), 0); err != nil {
				t.Fatal(err)
			}
			if again, err := host.EnsureLendingDevice(); err != nil || again != first {
				t.Errorf("with %s forwarding %s it is %d, %v, and was %d", device, value, again, err, first)
			}
			wantSysctl(t, "ipv6/conf/sluice-fib/forwarding", "1")
		}
	}
	wantSysctl(t, "ipv6/conf/all/forwarding", "0")
	wantSysctl(t, "ipv6/conf/default/forwarding", "0")
}

func TestVethConnectsSandboxes(t *testing.T) {
	t.Parallel()
	one, two := netdevtest.NewNamespace(t), netdevtest.NewNamespace(t)
	host := open(t)
	ensureBridge(t, host)
	ensureVeth(t, host, testVeth(one, 2))
	ensureVeth(t, host, testVeth(two, 3))
	wantSysctl(t, "ipv4/conf/veth0000002/forwarding", "0")
	wantSysctl(t, "ipv6/conf/veth0000002/disable_ipv6", "1")

	gateway, err := net.Listen("tcp", "172.30.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	netdevtest.EnterPath(t, one)
	wantSysctl(t, "ipv6/conf/eth0/disable_ipv6", "1")
	exchange(t, gateway)
	peer, err := net.Listen("tcp", "172.30.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	netdevtest.EnterPath(t, two)
	exchange(t, peer)
}

func TestVethIsRepaired(t *testing.T) {
	t.Parallel()
	sandbox := netdevtest.NewNamespace(t)
	host := open(t)
	ensureBridge(t, host)
	v := testVeth(sandbox, 2)
	ifindex := ensureVeth(t, host, v)
	link, err := netlink.LinkByName(v.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetNoMaster(link); err != nil {
		t.Fatal(err)
	}
	if again := ensureVeth(t, host, v); again != ifindex {
		t.Errorf("the veth was made anew: %d, was %d", again, ifindex)
	}
	link, err = netlink.LinkByName(v.Name)
	if err != nil || link.Attrs().MasterIndex == 0 {
		t.Errorf("the veth is no port again: %v", err)
	}
	wantForwardingEntry(t, link, v)
}

// wantForwardingEntry checks that the bridge knows by a static entry where the
// veth's MAC address is.
func wantForwardingEntry(t *testing.T, link netlink.Link, v netdev.Veth) {
	t.Helper()
	entries, err := netlink.NeighList(link.Attrs().Index, 7 /* AF_BRIDGE */)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.HardwareAddr.String() == v.MAC.String() && e.State&netlink.NUD_NOARP != 0 {
			return
		}
	}
	t.Errorf("no static entry for %s in %v", v.MAC, entries)
}

func TestVethNeedsNamespace(t *testing.T) {
	t.Parallel()
	host := open(t)
	ensureBridge(t, host)
	stale := filepath.Join(t.TempDir(), "stale")
	if err := os.WriteFile(stale, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{stale, stale + "-absent"} {
		if _, err := host.EnsureVeth(testVeth(path, 2)); !errors.Is(err, netdev.ErrNotNamespace) {
			t.Errorf("EnsureVeth into %s: %v", path, err)
		}
	}
}

// TestInstancesDoNotTakeDevices covers devices of another instance, which are
// neither adopted nor removed nor strays.
func TestInstancesDoNotTakeDevices(t *testing.T) {
	host := open(t)
	for _, name := range []string{"other", strings.Repeat("/long", 100)} {
		other, err := netdev.Open(name, filepath.Join(t.TempDir(), "borrowed"))
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		ensureBridge(t, other)
		if _, err := host.EnsureBridge(testBridge); !errors.Is(err, netdev.ErrForeign) {
			t.Errorf("adopt the bridge of %s: %v", name, err)
		}
		if err := host.DeleteDevice(testBridge.Name); !errors.Is(err, netdev.ErrForeign) {
			t.Errorf("remove the bridge of %s: %v", name, err)
		}
		if marked, err := host.Marked(); err != nil || len(marked) != 0 {
			t.Errorf("Marked() = %v, %v, want none", marked, err)
		}
		if marked, err := other.Marked(); err != nil || !slices.Equal(marked, []string{testBridge.Name}) {
			t.Errorf("the other's Marked() = %v, %v", marked, err)
		}
		if err := other.DeleteDevice(testBridge.Name); err != nil {
			t.Error(err)
		}
	}
}
