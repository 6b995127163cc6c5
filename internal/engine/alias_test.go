package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// member creates an endpoint with aliases.
func (f *fixture) member(network string, aliases ...string) Endpoint {
	f.t.Helper()
	req := f.request(network)
	req.Aliases = aliases
	ep, err := f.CreateEndpoint(context.Background(), req)
	must(f.t, err)
	return ep
}

// wantMembers checks who takes turns, in the intent and in the datapath.
func (f *fixture) wantMembers(alias string, want ...Endpoint) {
	f.t.Helper()
	views, err := f.Aliases()
	must(f.t, err)
	for _, v := range views {
		if v.Name != alias {
			continue
		}
		var got, indexes []uint32
		for _, ep := range v.Members {
			got = append(got, ep.Index)
		}
		for _, ep := range want {
			indexes = append(indexes, ep.Index)
		}
		written := f.datapath.aliases[v.Index].Members
		if !slices.Equal(got, indexes) || !slices.Equal(written, indexes) {
			f.t.Errorf("alias %s: members %v, written %v, want %v", alias, got, written, indexes)
		}
		return
	}
	f.t.Errorf("there is no alias %s, but %v", alias, views)
}

func TestAliasLivesWithItsMembers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := f.createNetwork(NetworkRequest{Name: "custom", Subnet: "172.20.0.0/16"})
	before := f.snapshot()

	a := f.member("custom", "rr", "RR", "db.example")
	addr, ok := f.AliasAddress(n.ID, "Rr")
	if !ok || !n.Subnet.Contains(addr) || addr.Compare(netip.MustParseAddr("172.20.191.255")) <= 0 {
		t.Errorf("the alias's address is %s, %v: want one in the last quarter of %s", addr, ok, n.Subnet)
	}
	b := f.member("custom", "rr")
	if a.Address.String() != "172.20.0.2" || b.Address.String() != "172.20.0.3" {
		t.Errorf("endpoints have %s and %s: aliases took the lowest addresses", a.Address, b.Address)
	}
	f.wantMembers("rr", a, b)
	f.wantMembers("db.example", a)

	must(t, f.DeleteEndpoint(context.Background(), a.ID))
	f.wantMembers("rr", b)
	if _, ok := f.AliasAddress(n.ID, "db.example"); ok {
		t.Error("an alias that nobody has is left")
	}
	must(t, f.DeleteEndpoint(context.Background(), b.ID))
	f.wantUnchanged(before)

	f.member("custom", "rr")
	if again, _ := f.AliasAddress(n.ID, "rr"); again != addr {
		t.Errorf("the alias came back with %s, and had %s", again, addr)
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.createNetwork(NetworkRequest{Name: "custom"})
	a, b := f.member("custom", "rr"), f.member("custom", "rr")
	must(t, f.DrainEndpoint(a.ID, true))
	f.wantMembers("rr", b)
	must(t, f.DrainEndpoint(b.ID, true))
	f.wantMembers("rr")
	c := f.member("custom", "rr")
	f.wantMembers("rr", c)
	must(t, f.DrainEndpoint(a.ID, false))
	f.wantMembers("rr", a, c)
	// Whoever was stopping b is gone with the daemon.
	f.restart()
	must(t, f.Reconcile(context.Background()))
	f.wantMembers("rr", a, b, c)
	wantError(t, f.DrainEndpoint("nobody", true), 404, "nobody")
}

func TestAliasesOfNetworksAreApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	one, two := f.createNetwork(NetworkRequest{Name: "one"}), f.createNetwork(NetworkRequest{Name: "two"})
	f.member("one", "rr")
	if _, ok := f.AliasAddress(two.ID, "rr"); ok {
		t.Error("a network has another's alias")
	}
	f.member("two", "rr")
	first, _ := f.AliasAddress(one.ID, "rr")
	second, _ := f.AliasAddress(two.ID, "rr")
	if !one.Subnet.Contains(first) || !two.Subnet.Contains(second) {
		t.Errorf("addresses %s and %s", first, second)
	}
}

func TestDNSRRHasNoAddresses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := f.createNetwork(NetworkRequest{Name: "custom", AliasMode: "dnsrr"})
	f.datapath.takeCalls()
	ep := f.member("custom", "rr")
	if addr, ok := f.AliasAddress(n.ID, "rr"); ok {
		t.Errorf("the alias has the address %s", addr)
	}
	if e := f.datapath.endpoints[ep.Index]; e.Translated || len(f.datapath.aliases) > 0 {
		t.Errorf("the datapath was told of %v and %v", e, f.datapath.aliases)
	}
	_, err := f.CreateNetwork(context.Background(), NetworkRequest{Name: "other", AliasMode: "random"})
	wantError(t, err, 400, `"random"`)
}

func TestEveryStepOfJoiningAliasesUnwinds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.createNetwork(NetworkRequest{Name: "custom"})
	f.member("custom", "rr")
	req := f.request("custom")
	req.Aliases = []string{"rr", "fresh"}
	f.wantUnwound(func() plan {
		n, ep, err := f.intendEndpoint(req)
		must(t, err)
		return f.endpointPlan(n, &ep)
	})
}

// TestNoRoomForAlias covers a subnet whose last address goes to the endpoint.
func TestNoRoomForAlias(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.createNetwork(NetworkRequest{Name: "tiny", Subnet: "172.20.0.0/30"})
	before := f.snapshot()
	req := f.request("tiny")
	req.Aliases = []string{"rr"}
	_, err := f.CreateEndpoint(context.Background(), req)
	wantError(t, err, 409, "no available IPv4 addresses")
	f.wantUnchanged(before)
}

func TestTooManyMembers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := f.createNetwork(NetworkRequest{Name: "custom"})
	ep := f.member("custom", "rr")
	a, _ := f.registry.findAlias(n.ID, "rr")
	err := f.writeMembers(n, a, slices.Repeat([]Endpoint{ep}, 257))
	wantError(t, err, 409, "the limit is 256")
}

func TestReconcileRepairsAliases(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := f.createNetwork(NetworkRequest{Name: "custom"})
	a, b := f.member("custom", "rr"), f.member("custom", "rr")
	whole := f.snapshot()

	clear(f.datapath.aliases)
	addr, _ := f.AliasAddress(n.ID, "rr")
	must(t, f.devices.DeleteNeighbour(n.Bridge, addr))
	f.restart()
	must(t, f.Reconcile(context.Background()))
	f.wantUnchanged(whole)
	f.wantMembers("rr", a, b)

	// A crash between the alias's record and the endpoint that wanted it.
	_, err := f.registry.addAlias(n, "orphan")
	must(t, err)
	f.restart()
	must(t, f.Reconcile(context.Background()))
	f.wantUnchanged(whole)
}

// TestAliasAddressesCollide covers names whose addresses would be the same.
func TestAliasAddressesCollide(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := f.createNetwork(NetworkRequest{Name: "small", Subnet: "172.20.0.0/27"})
	seen := map[netip.Addr]bool{}
	for i := range 14 { // and 14 endpoints: all but the gateway's one
		name := fmt.Sprintf("a%d", i)
		f.member("small", name)
		addr, _ := f.AliasAddress(n.ID, name)
		if seen[addr] {
			t.Errorf("two aliases have %s", addr)
		}
		seen[addr] = true
	}
}
