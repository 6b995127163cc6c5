package engine

import (
	"context"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/netdev"
)

// hold keeps what is buried from being deleted.
func (g *graveyard) hold() (release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = true
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.held = false
		g.change.Broadcast()
	}
}

// kill is what a kill of the daemon does to devices that wait to be deleted.
func (g *graveyard) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queue = nil
}

func exists(t *testing.T, device string) bool {
	t.Helper()
	links, err := netlink.LinkList()
	must(t, err)
	for _, link := range links {
		if link.Attrs().Name == device {
			return true
		}
	}
	return false
}

func TestRemovedDeviceIsOursUntilItIsDeleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := f.createNetwork(NetworkRequest{Name: "custom"})
	ep := f.createEndpoint("custom")
	release := f.graveyard.hold()
	must(t, f.DeleteEndpoint(context.Background(), ep.ID))
	must(t, f.RemoveNetwork(context.Background(), n.ID))
	for _, device := range []string{ep.HostDevice, n.Bridge} {
		if !exists(t, device) || !f.Owns(device) {
			t.Errorf("%s is gone, or would be taken for an uplink", device)
		}
	}
	release()
	f.Settle()
	for _, device := range []string{ep.HostDevice, n.Bridge} {
		if exists(t, device) || f.Owns(device) {
			t.Errorf("%s is left", device)
		}
	}
}

// TestAddressIsFreeAtOnce gives an address, and a MAC address with it, to the
// next endpoint while the device of the one before waits.
func TestAddressIsFreeAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first := f.createEndpoint("bridge")
	release := f.graveyard.hold()
	must(t, f.DeleteEndpoint(context.Background(), first.ID))
	second := f.createEndpoint("bridge")
	if second.Address != first.Address {
		t.Errorf("the next endpoint has %s, not %s", second.Address, first.Address)
	}
	release()
	f.Settle()
	bridge, err := netlink.LinkByName(defaultBridge)
	must(t, err)
	neighbours, err := netlink.NeighList(bridge.Attrs().Index, netlink.FAMILY_V4)
	must(t, err)
	if !slices.ContainsFunc(neighbours, func(n netlink.Neigh) bool {
		return n.IP.String() == second.Address.String() && n.State == netlink.NUD_PERMANENT
	}) {
		t.Errorf("neighbours: %v", neighbours)
	}
	outer, err := netlink.LinkByName(second.HostDevice)
	must(t, err)
	entries, err := netlink.NeighList(outer.Attrs().Index, unix.AF_BRIDGE)
	must(t, err)
	if !slices.ContainsFunc(entries, func(n netlink.Neigh) bool { return n.HardwareAddr.String() == second.MAC.String() }) {
		t.Errorf("the bridge does not know where %s is: %v", second.MAC, entries)
	}
}

func TestSubnetIsFreeAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before := f.snapshot()
	for range 3 {
		f.createNetwork(NetworkRequest{Name: "custom", Subnet: "172.20.0.0/16"})
		must(t, f.RemoveNetwork(context.Background(), "custom"))
	}
	f.wantUnchanged(before)
}

// TestKilledBeforeTheBurial leaves devices that no record knows, and a sandbox
// that is gone or is not.
func TestKilledBeforeTheBurial(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before := f.snapshot()
	f.createNetwork(NetworkRequest{Name: "custom"})
	one, two := f.createEndpoint("custom"), f.createEndpoint("custom")
	release := f.graveyard.hold()
	for _, ep := range []Endpoint{one, two} {
		must(t, f.DeleteEndpoint(context.Background(), ep.ID))
	}
	must(t, f.RemoveNetwork(context.Background(), "custom"))
	must(t, netdev.DeleteNamespace(one.Sandbox))
	f.graveyard.kill()
	release()
	f.restart()
	must(t, f.RemoveStrayDevices())
	if exists(t, two.HostDevice) {
		t.Errorf("%s is left", two.HostDevice)
	}
	must(t, f.Reconcile(context.Background()))
	f.wantUnchanged(before)
}

// TestKilledBeforeTheNeighbourWent: the network stays, and with it the bridge
// that remembers who had the address. Those of an alias and of another endpoint
// stay too.
func TestKilledBeforeTheNeighbourWent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.createNetwork(NetworkRequest{Name: "custom"})
	req := f.request("custom")
	req.Aliases = []string{"rr"}
	if _, err := f.CreateEndpoint(context.Background(), req); err != nil {
		t.Fatal(err)
	}
	before := f.snapshot()
	ep := f.createEndpoint("custom")
	release := f.graveyard.hold()
	must(t, f.DeleteEndpoint(context.Background(), ep.ID))
	f.graveyard.kill()
	release()
	f.restart()
	must(t, f.Reconcile(context.Background()))
	f.wantUnchanged(before)
}
