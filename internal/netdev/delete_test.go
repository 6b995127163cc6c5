package netdev_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/netdev/netdevtest"
)

// TestDeleteDevices deletes several devices at once, beside those that are not
// there and one of somebody else's, which stays.
func TestDeleteDevices(t *testing.T) {
	t.Parallel()
	sandbox := netdevtest.NewNamespace(t)
	host := open(t)
	ensureBridge(t, host)
	names := []string{"absent"}
	for n := range 9 {
		v := testVeth(sandbox, n+2)
		v.Name, v.Device = fmt.Sprintf("veth%d", n), fmt.Sprintf("eth%d", n)
		ensureVeth(t, host, v)
		names = append(names, v.Name)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "foreign"
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	foreign, err := netlink.LinkByName("foreign")
	must(t, err)
	must(t, netlink.LinkSetAlias(foreign, "sluice /elsewhere"))
	if err := host.DeleteDevices(append(names, "foreign")); !errors.Is(err, netdev.ErrForeign) {
		t.Errorf("deleting a foreign device: %v", err)
	}
	left, err := netlink.LinkList()
	must(t, err)
	if len(left) != 3 { // lo, the bridge, the foreign one
		t.Errorf("%d devices are left", len(left))
	}
	must(t, host.DeleteDevices(names))
	must(t, host.DeleteDevices(nil))
}

func TestDeleteNeighbour(t *testing.T) {
	t.Parallel()
	sandbox := netdevtest.NewNamespace(t)
	host := open(t)
	bridge := ensureBridge(t, host)
	v := testVeth(sandbox, 2)
	ensureVeth(t, host, v)
	for range 2 {
		must(t, host.DeleteNeighbour(v.Bridge, v.Address.Addr()))
	}
	left, err := netlink.NeighList(bridge, netlink.FAMILY_V4)
	must(t, err)
	for _, n := range left {
		if n.IP.Equal(v.Address.Addr().AsSlice()) {
			t.Errorf("a neighbour is left: %v", n)
		}
	}
	must(t, host.DeleteDevice(v.Bridge))
	if err := host.DeleteNeighbour(v.Bridge, v.Address.Addr()); err != nil {
		t.Errorf("without a bridge: %v", err)
	}
}

// TestDeleteAddresses: the routes to the subnets go with the addresses.
func TestDeleteAddresses(t *testing.T) {
	t.Parallel()
	host := open(t)
	bridge := testBridge
	bridge.Address6 = netip.MustParsePrefix("fd00:30::1/64")
	_, err := host.EnsureBridge(bridge)
	must(t, err)
	for range 2 {
		must(t, host.DeleteAddresses(bridge))
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	must(t, err)
	for _, r := range routes {
		if r.Dst != nil && (bridge.Address.Contains(addrOf(r.Dst.IP)) || bridge.Address6.Contains(addrOf(r.Dst.IP))) {
			t.Errorf("a route is left: %v", r)
		}
	}
	must(t, host.DeleteDevice(bridge.Name))
	if err := host.DeleteAddresses(bridge); err != nil {
		t.Errorf("without a bridge: %v", err)
	}
}

func addrOf(ip net.IP) netip.Addr {
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
