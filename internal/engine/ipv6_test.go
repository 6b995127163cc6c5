package engine

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	bpfmaps "github.com/sluice-net/sluice/maps"
)

// dual makes a network with IPv6 that has the subnets 172.20.0.0/16 and fd00:20::/64.
func (f *fixture) dual() Network {
	f.t.Helper()
	return f.createNetwork(NetworkRequest{Name: "dual", Subnet: "172.20.0.0/16", IPv6: true, Subnet6: "fd00:20::/64"})
}

func TestNetworkWithIPv6(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before := f.snapshot()
	n := f.dual()
	if !n.HasIPv6() || n.Gateway6.String() != "fd00:20::1" {
		t.Errorf("network: %+v", n)
	}
	written := f.datapath.networks[n.Index]
	if written.Subnet6 != n.Subnet6 || written.Gateway6 != n.Gateway6 || written.Subnet != n.Subnet {
		t.Errorf("the datapath knows %+v", written)
	}
	if want := (bpfmaps.HostAddr{Addr: n.Gateway6, Network: n.Index}); !slices.Contains(f.datapath.addrs, want) {
		t.Errorf("the gateway is no address of the host: %v", f.datapath.addrs)
	}
	stored, err := f.Network("dual")
	must(t, err)
	f.restart()
	if again, err := f.Network("dual"); err != nil || again.Subnet6 != stored.Subnet6 || again.Gateway6 != stored.Gateway6 {
		t.Errorf("after a restart: %+v, %v", again, err)
	}
	must(t, f.RemoveNetwork(context.Background(), n.ID))
	f.wantUnchanged(before)

	plain := f.createNetwork(NetworkRequest{Name: "plain"})
	if plain.HasIPv6() || len(plain.Subnets()) != 1 {
		t.Errorf("a network without --ipv6: %+v", plain)
	}
}

func TestDefaultSubnets6(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first, second := f.createNetwork(NetworkRequest{Name: "one", IPv6: true}), f.createNetwork(NetworkRequest{Name: "two", IPv6: true})
	if !strings.HasPrefix(first.Subnet6.String(), "fd") || first.Subnet6.Bits() != 64 || first.Gateway6 != first.Subnet6.Addr().Next() {
		t.Errorf("subnet %s, gateway %s", first.Subnet6, first.Gateway6)
	}
	site := netip.PrefixFrom(first.Subnet6.Addr(), 48).Masked()
	if !site.Contains(second.Subnet6.Addr()) || second.Subnet6 == first.Subnet6 {
		t.Errorf("the second subnet is %s, the first %s", second.Subnet6, first.Subnet6)
	}
	// A route of the host, as a VPN's, is in the way of the next one.
	third := second.Subnet6.Addr().As16()
	third[7]++
	route6(t, netip.PrefixFrom(netip.AddrFrom16(third), 64))
	f.restart() // and the prefix is kept
	n := f.createNetwork(NetworkRequest{Name: "three", IPv6: true})
	if !site.Contains(n.Subnet6.Addr()) || n.Subnet6.Addr() == netip.AddrFrom16(third) {
		t.Errorf("the third subnet is %s", n.Subnet6)
	}
}

// route6 gives the test's namespace a route.
func route6(t *testing.T, dst netip.Prefix) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	ipnet, err := netlink.ParseIPNet(dst.String())
	must(t, err)
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipnet}))
}

func TestCreateNetworkRefuses6(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dual()
	route6(t, netip.MustParsePrefix("fd00:99::/64"))
	before := f.snapshot()
	for _, c := range []struct {
		subnet, gateway string
		status          int
		part            string
	}{
		{"fd00::/200", "", 400, "ADDRESS/LENGTH"},
		{"fd00::1", "", 400, "ADDRESS/LENGTH"},
		{"fd00::5/64", "", 400, "fd00::/64"},
		{"fd00::/127", "", 400, "/126"},
		{"2000::/12", "", 400, "/16"},
		{"fe80::/64", "", 400, "neither global unicast nor unique local"},
		{"ff00::/64", "", 400, "neither global unicast nor unique local"},
		{"::/64", "", 400, "neither global unicast nor unique local"},
		{"::ffff:172.20.0.0/112", "", 400, "neither global unicast nor unique local"},
		{"fd00:20::/80", "", 409, "overlaps fd00:20::/64 of network dual"},
		{"fd00:99::/48", "", 409, "the host's route to fd00:99::/64"},
		{"", "fd00::1", 400, "add --subnet"},
		{"fd00::/64", "fd00::x", 400, "not an IP address"},
		{"fd00::/64", "fd00::1%eth0", 400, "not an IP address"},
		{"fd00::/64", "fd01::1", 400, "outside the subnet"},
		{"fd00::/64", "172.20.0.1", 400, "outside the subnet"},
		{"fd00::/64", "fd00::", 400, "anycast"},
	} {
		_, err := f.CreateNetwork(context.Background(), NetworkRequest{Name: "n", IPv6: true, Subnet6: c.subnet, Gateway6: c.gateway})
		wantError(t, err, c.status, c.part)
		f.wantUnchanged(before)
	}
	_, err := f.CreateNetwork(context.Background(), NetworkRequest{Name: "n", Subnet6: "fd00::/64"})
	wantError(t, err, 400, "fd00::/64 is of IPv6: add --ipv6")
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0))
	_, err = f.CreateNetwork(context.Background(), NetworkRequest{Name: "n", IPv6: true})
	wantError(t, err, 409, "net.ipv6.conf.all.disable_ipv6")
	f.createNetwork(NetworkRequest{Name: "plain"})
}

func TestAddSubnet(t *testing.T) {
	t.Parallel()
	var req NetworkRequest
	must(t, req.AddSubnet("fd00::/64", "fd00::9"))
	must(t, req.AddSubnet("172.20.0.0/16", ""))
	if req.Subnet != "172.20.0.0/16" || req.Gateway != "" || req.Subnet6 != "fd00::/64" || req.Gateway6 != "fd00::9" {
		t.Errorf("request: %+v", req)
	}
	wantError(t, req.AddSubnet("fd01::/64", ""), 400, "leave fd01::/64 out")
	wantError(t, req.AddSubnet("", "172.20.0.1"), 400, "leave 172.20.0.1 out")
}

func TestEndpointWithIPv6(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	f.dual()
	before := f.snapshot()
	first, second := f.createEndpoint("dual"), f.createEndpoint("dual")
	if got := fmt.Sprint(first.Addresses(), second.Addresses()); got != "[172.20.0.2 fd00:20::2] [172.20.0.3 fd00:20::3]" {
		t.Errorf("addresses: %s", got)
	}
	if written := f.datapath.endpoints[first.Index]; written.Addr6 != first.Address6 || written.MAC.String() != "02:42:ac:14:00:02" {
		t.Errorf("the datapath knows %+v", written)
	}
	must(t, f.DeleteEndpoint(ctx, first.ID))
	if again := f.createEndpoint("dual"); again.Address6 != first.Address6 {
		t.Errorf("the freed address is not handed out again: %s", again.Address6)
	}
	req := f.request("dual")
	req.Address6 = netip.MustParseAddr("fd00:20::beef")
	ep, err := f.CreateEndpoint(ctx, req)
	if err != nil || ep.Address6 != req.Address6 || ep.Requested6 != req.Address6 || ep.Address.String() != "172.20.0.4" {
		t.Errorf("requested address: %+v, %v", ep, err)
	}
	for addr, want := range map[string]struct {
		status int
		part   string
	}{
		"fd00:20::beef": {409, "Address already in use"},
		"fd00:20::1":    {409, "Address already in use"},
		"fd00:20::":     {409, "Address already in use"},
		"fd00::1":       {400, "outside the subnet fd00:20::/64"},
		"172.20.0.9":    {400, "outside the subnet"},
	} {
		req := f.request("dual")
		req.Address6 = netip.MustParseAddr(addr)
		before := f.snapshot()
		_, err := f.CreateEndpoint(ctx, req)
		wantError(t, err, want.status, want.part)
		f.wantUnchanged(before)
	}
	req = f.request("bridge")
	req.Address6 = netip.MustParseAddr("fd00:20::9")
	_, err = f.CreateEndpoint(ctx, req)
	wantError(t, err, 400, "network bridge has no IPv6: make one with `network create --ipv6`")
	for _, ep := range f.Endpoints("") {
		must(t, f.DeleteEndpoint(ctx, ep.ID))
	}
	f.wantUnchanged(before)
}

func TestEveryStepUnwinds6(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.wantUnwound(func() plan {
		n, err := f.intendNetwork(NetworkRequest{Name: "custom", IPv6: true})
		must(t, err)
		n.Bridge = "br-test"
		return f.networkPlan(n)
	})
	f.dual()
	req := f.request("dual", tcp(8080, 8080, 80))
	req.Aliases = []string{"rr"}
	f.wantUnwound(func() plan {
		n, ep, err := f.intendEndpoint(req)
		must(t, err)
		return f.endpointPlan(n, &ep)
	})
}

func TestReconcileRepairs6(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := f.dual()
	f.member("dual", "rr")
	f.createEndpoint("dual", tcp(8080, 8080, 80))
	whole := f.snapshot()
	clear(f.datapath.endpoints)
	clear(f.datapath.networks)
	clear(f.datapath.rules)
	clear(f.datapath.aliases)
	bridge, err := netlink.LinkByName(n.Bridge)
	must(t, err)
	must(t, netlink.LinkSetDown(bridge)) // with it go IPv6 addresses and neighbours
	f.restart()
	must(t, f.Reconcile(context.Background()))
	f.wantUnchanged(whole)
	must(t, netlink.LinkSetDown(bridge))
	must(t, f.RepairDevices(context.Background(), []string{n.Bridge}))
	f.wantUnchanged(whole)
}

func TestAliasWithIPv6(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := f.dual()
	before := f.snapshot()
	a, b := f.member("dual", "rr"), f.member("dual", "rr")
	addrs := f.AliasAddresses(n.ID, "rr")
	if len(addrs) != 2 || !n.Subnet.Contains(addrs[0]) || !n.Subnet6.Contains(addrs[1]) {
		t.Fatalf("the alias's addresses are %v", addrs)
	}
	if addrs[1].Compare(netip.MustParseAddr("fd00:20::ffff:ffff:0:0")) < 0 {
		t.Errorf("the alias has %s: want one at the end of the subnet", addrs[1])
	}
	f.wantMembers("rr", a, b)
	for _, written := range f.datapath.aliases {
		if written.Addr != addrs[0] || written.Addr6 != addrs[1] {
			t.Errorf("the datapath knows %+v", written)
		}
	}
	must(t, f.DeleteEndpoint(context.Background(), a.ID))
	must(t, f.DeleteEndpoint(context.Background(), b.ID))
	f.wantUnchanged(before)
}

func TestNamesOfIPv6(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := f.dual()
	one, two := f.named("dual", "one", "rr"), f.named("dual", "two", "rr")
	f.wantName(one, "two", "172.20.0.3", "fd00:20::3")
	vips := f.AliasAddresses(n.ID, "rr")
	f.wantName(two, "rr", vips[0].String(), vips[1].String())
	for addr, want := range map[netip.Addr]string{
		two.Address6: "two.dual", vips[1]: "rr.dual", n.Gateway6: "", netip.MustParseAddr("fd00:21::2"): "",
	} {
		if got, ok := f.ResolveAddress(one.Sandbox, addr); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v; want %q", addr, got, ok, want)
		}
	}
	f.createNetwork(NetworkRequest{Name: "turns", Subnet: "172.21.0.0/16", IPv6: true, Subnet6: "fd00:21::/64", AliasMode: string(AliasDNSRR)})
	three := f.named("turns", "three", "rr")
	f.named("turns", "four", "rr")
	f.wantName(three, "rr", "172.21.0.2", "172.21.0.3", "fd00:21::2", "fd00:21::3")
}
