package engine

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestPredefinedNetworks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var names []string
	for _, n := range f.Networks() {
		names = append(names, n.Name+" "+n.Driver)
		wantError(t, f.RemoveNetwork(context.Background(), n.Name), 403, n.Name+" is a pre-defined network and cannot be removed")
	}
	if got := strings.Join(names, ", "); got != "bridge bridge, host host, none null" {
		t.Errorf("networks: %s", got)
	}
	n, err := f.Network("bridge")
	must(t, err)
	if n.Subnet.String() != "172.17.0.0/16" || n.Gateway.String() != "172.17.0.1" || n.Bridge != "sluice0" || !n.Owned {
		t.Errorf("bridge: %+v", n)
	}
	want := "addrs [{172.17.0.1 1} {192.0.2.1 0} {2001:db8::1 0} {fe80::1 0}] uplinks [{eth0 7 192.0.2.1 2001:db8::1 true}]"
	if got := f.datapath.dump(); !strings.Contains(got, want) {
		t.Errorf("datapath: %s, want %s", got, want)
	}
}

func TestCreateAndRemoveNetwork(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before := f.snapshot()
	n := f.createNetwork(NetworkRequest{Name: "custom", Subnet: "172.20.0.0/16", Labels: map[string]string{"a": "b"}})
	if len(n.ID) != 64 || n.Gateway.String() != "172.20.0.1" || n.Bridge != "br-"+n.ID[:12] {
		t.Errorf("network: %+v", n)
	}
	link, err := netlink.LinkByName(n.Bridge)
	must(t, err)
	if got := f.datapath.networks[n.Index].Bridge; got != uint32(link.Attrs().Index) {
		t.Errorf("the datapath has bridge %d", got)
	}
	for _, ref := range []string{"custom", n.ID, n.ID[:12]} {
		if got, err := f.Network(ref); err != nil || got.ID != n.ID {
			t.Errorf("Network(%s) = %v, %v", ref, got.ID, err)
		}
	}
	must(t, f.RemoveNetwork(context.Background(), n.ID[:12]))
	f.wantUnchanged(before)
	_, err = f.Network("custom")
	wantError(t, err, 404, "network custom not found")
}

func TestInternalNetworkHasNoMasquerade(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := f.createNetwork(NetworkRequest{Name: "inside", Internal: true})
	if n.Rule != 0 || n.Subnet.String() != "172.18.0.0/16" || len(f.datapath.rules) != 1 {
		t.Errorf("network %+v, rules %v", n, f.datapath.rules)
	}
}

func TestDefaultPoolsAvoidRoutes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	_, taken, err := net.ParseCIDR("172.18.5.0/24")
	must(t, err)
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: taken}))
	if n := f.createNetwork(NetworkRequest{Name: "custom"}); n.Subnet.String() != "172.19.0.0/16" {
		t.Errorf("subnet %s", n.Subnet)
	}
}

func TestCreateNetworkRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.createNetwork(NetworkRequest{Name: "custom", Subnet: "172.20.0.0/16"})
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	addr, err := netlink.ParseAddr("10.9.9.9/32")
	must(t, err)
	must(t, netlink.AddrAdd(lo, addr))
	before := f.snapshot()
	for _, c := range []struct {
		req    NetworkRequest
		status int
		part   string
	}{
		{NetworkRequest{}, 400, "needs a name"},
		{NetworkRequest{Name: "-x"}, 400, "invalid network name"},
		{NetworkRequest{Name: "a b"}, 400, "invalid network name"},
		{NetworkRequest{Name: "custom"}, 409, "network with name custom already exists"},
		{NetworkRequest{Name: "host"}, 409, "network with name host already exists"},
		{NetworkRequest{Name: "n", Driver: "host"}, 403, "only one instance"},
		{NetworkRequest{Name: "n", Driver: "overlay"}, 404, `driver "overlay" not found`},
		{NetworkRequest{Name: "n", Subnet: "nonsense"}, 400, "ADDRESS/LENGTH"},
		{NetworkRequest{Name: "n", Subnet: "10.0.0.0"}, 400, "ADDRESS/LENGTH"},
		{NetworkRequest{Name: "n", Subnet: "fd00::/64"}, 400, "not of IPv4"},
		{NetworkRequest{Name: "n", Subnet: "10.0.0.5/24"}, 400, "10.0.0.0/24"},
		{NetworkRequest{Name: "n", Subnet: "10.0.0.0/31"}, 400, "/30"},
		{NetworkRequest{Name: "n", Subnet: "0.0.0.0/0"}, 400, "/8"},
		{NetworkRequest{Name: "n", Subnet: "127.5.0.0/16"}, 400, "no unicast addresses"},
		{NetworkRequest{Name: "n", Subnet: "239.0.0.0/16"}, 400, "no unicast addresses"},
		{NetworkRequest{Name: "n", Subnet: "172.20.5.0/24"}, 409, "overlaps 172.20.0.0/16 of network custom"},
		{NetworkRequest{Name: "n", Subnet: "10.9.0.0/16"}, 409, "the host's route to 10.9.9.9/32"},
		{NetworkRequest{Name: "n", Gateway: "10.0.0.1"}, 400, "add --subnet"},
		{NetworkRequest{Name: "n", Subnet: "10.0.0.0/24", Gateway: "x"}, 400, "not an IP address"},
		{NetworkRequest{Name: "n", Subnet: "10.0.0.0/24", Gateway: "fd00::1"}, 400, "outside the subnet"},
		{NetworkRequest{Name: "n", Subnet: "10.0.0.0/24", Gateway: "10.0.1.1"}, 400, "outside the subnet"},
		{NetworkRequest{Name: "n", Subnet: "10.0.0.0/24", Gateway: "10.0.0.0"}, 400, "the subnet 10.0.0.0/24 itself"},
		{NetworkRequest{Name: "n", Subnet: "10.0.0.0/24", Gateway: "10.0.0.255"}, 400, "broadcast"},
	} {
		_, err := f.CreateNetwork(context.Background(), c.req)
		wantError(t, err, c.status, c.part)
		f.wantUnchanged(before)
	}
}

func TestRemoveNetworkWithEndpoints(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := f.createNetwork(NetworkRequest{Name: "custom"})
	ep := f.createEndpoint("custom")
	err := f.RemoveNetwork(context.Background(), "custom")
	wantError(t, err, 403, `network custom has active endpoints (name:"net00" id:"`+ep.ID[:12]+`")`)
	must(t, f.DeleteEndpoint(context.Background(), ep.ID))
	must(t, f.RemoveNetwork(context.Background(), n.Name))
}

func TestForwardingSwitchIsRepaired(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ep := f.createEndpoint("bridge")
	for _, value := range []string{"1", "0"} {
		must(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte(value), 0))
		f.ForwardingChanged()
		for device, want := range map[string]string{"sluice0": "0", ep.HostDevice: "0", "sluice-fib": "1"} {
			got, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + device + "/forwarding")
			must(t, err)
			if strings.TrimSpace(string(got)) != want {
				t.Errorf("forwarding of %s is %s after the switch was set to %s", device, got, value)
			}
		}
	}
}

func TestOwns(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ep := f.createEndpoint("bridge")
	for device, want := range map[string]bool{"sluice0": true, "sluice-fib": true, ep.HostDevice: true, "eth0": false, "lo": false, "": false} {
		if f.Owns(device) != want {
			t.Errorf("Owns(%q) = %v", device, !want)
		}
	}
}

func TestGatewayIsHostAddress(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	// The watcher sees the gateway as any other address of the host.
	state := hostState
	state.Addrs = append([]netip.Addr{netip.MustParseAddr("172.17.0.1")}, state.Addrs...)
	f.HostChanged(state)
	if got := f.datapath.dump(); !strings.Contains(got, "addrs [{172.17.0.1 1} {192.0.2.1 0} {2001:db8::1 0} {fe80::1 0}]") {
		t.Errorf("datapath: %s", got)
	}
}
