package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// named creates an endpoint with a name of its own and aliases.
func (f *fixture) named(network, name string, aliases ...string) Endpoint {
	f.t.Helper()
	req := f.request(network)
	req.Names, req.Aliases = []string{name, name + "-id"}, aliases
	ep, err := f.CreateEndpoint(context.Background(), req)
	must(f.t, err)
	return ep
}

// wantName asserts what a name means in an endpoint's sandbox, in any order.
func (f *fixture) wantName(in Endpoint, name string, want ...string) {
	f.t.Helper()
	addrs, ok := f.ResolveName(in.Sandbox, name)
	got := []string{}
	for _, addr := range addrs {
		got = append(got, addr.String())
	}
	slices.Sort(got)
	if fmt.Sprint(got) != fmt.Sprint(want) || ok != (len(want) > 0) {
		f.t.Errorf("%s: got %v, %v; want %v", name, got, ok, want)
	}
}

func TestResolveName(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := f.createNetwork(NetworkRequest{Name: "custom", Subnet: "172.20.0.0/16"})
	f.createNetwork(NetworkRequest{Name: "second", Subnet: "172.21.0.0/16", Internal: true})
	one, two := f.named("custom", "one", "rr", "two"), f.named("custom", "two", "rr")
	other := f.named("second", "other")
	plain := f.named("bridge", "plain")
	vip, _ := f.AliasAddress(n.ID, "rr")

	for name, want := range map[string]string{
		"one": "172.20.0.2", "ONE": "172.20.0.2", "one-id": "172.20.0.2", "one.custom": "172.20.0.2", "one.Custom": "172.20.0.2",
		"two": "172.20.0.3", // its own name wins over the alias of one
		"rr":  vip.String(), "RR.custom": vip.String(),
	} {
		f.wantName(one, name, want)
		f.wantName(two, name, want)
	}
	for _, name := range []string{"", ".custom", "custom", "one.", "one.second", "one.custom.custom", "other", "other.second", "plain"} {
		f.wantName(one, name)
	}
	f.wantName(other, "one")
	f.wantName(other, "other", "172.21.0.2")
	f.wantName(plain, "plain")
	if f.ReachesOutside(other.Sandbox) || !f.ReachesOutside(one.Sandbox) || f.ReachesOutside("nowhere") {
		t.Error("who reaches outside")
	}
	must(t, f.DeleteEndpoint(context.Background(), two.ID))
	f.wantName(one, "two", mustAlias(f, n, "two"))
}

func mustAlias(f *fixture, n Network, name string) string {
	f.t.Helper()
	addr, ok := f.AliasAddress(n.ID, name)
	if !ok {
		f.t.Fatalf("no alias %s", name)
	}
	return addr.String()
}

// TestResolveAliasWithoutAddress covers a network whose aliases are their
// members, of which one leaves the turn.
func TestResolveAliasWithoutAddress(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.createNetwork(NetworkRequest{Name: "turns", Subnet: "172.20.0.0/16", AliasMode: string(AliasDNSRR)})
	one, two := f.named("turns", "one", "rr"), f.named("turns", "two", "rr")
	f.wantName(one, "rr", "172.20.0.2", "172.20.0.3")
	must(t, f.DrainEndpoint(two.ID, true))
	f.wantName(one, "rr", "172.20.0.2")
	f.wantName(one, "two", "172.20.0.3")
}

func TestResolveAddress(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := f.createNetwork(NetworkRequest{Name: "custom", Subnet: "172.20.0.0/16"})
	f.createNetwork(NetworkRequest{Name: "second", Subnet: "172.21.0.0/16"})
	one, other := f.named("custom", "one", "rr"), f.named("second", "other")
	vip, _ := f.AliasAddress(n.ID, "rr")
	for _, test := range []struct {
		in   Endpoint
		addr netip.Addr
		want string
	}{
		{one, one.Address, "one.custom"}, {one, vip, "rr.custom"}, {one, n.Gateway, ""}, {one, other.Address, ""}, {other, one.Address, ""},
	} {
		addr := test.addr
		if got, ok := f.ResolveAddress(test.in.Sandbox, addr); got != test.want || ok != (test.want != "") {
			t.Errorf("%s: %q, %v; want %q", addr, got, ok, test.want)
		}
	}
}
