package engine

import (
	"context"
	"testing"
)

func TestAddressUse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.createNetwork(NetworkRequest{Name: "custom", Subnet: "172.20.0.0/24", IPv6: true, Subnet6: "fd00:1::/64"})
	f.createNetwork(NetworkRequest{Name: "small", IPv6: true, Subnet6: "fd00:2::/120"})
	want := func(used int) {
		t.Helper()
		uses, err := f.AddressUse()
		must(t, err)
		for _, u := range uses {
			if u.Network.Driver != DriverBridge {
				t.Errorf("network %s has no addresses", u.Network.Name)
			}
			if free6 := map[string]int{"fd00:1::/64": Countless, "fd00:2::/120": 254 - used}; u.Subnet.Addr().Is6() {
				if u.Used != used || u.Reserved != 2 || u.Free != free6[u.Subnet.String()] {
					t.Errorf("%s: got %d used, %d reserved, %d free, want %d used", u.Subnet, u.Used, u.Reserved, u.Free, used)
				}
			} else if u.Network.Name == "custom" && (u.Used != used || u.Reserved != 3 || u.Free != 253-used) {
				t.Errorf("got %d used, %d reserved, %d free of 256, want %d used", u.Used, u.Reserved, u.Free, used)
			}
		}
		if len(uses) == 0 {
			t.Error("no network has addresses")
		}
	}
	want(0)
	// Each has an address of its own, and one of the alias.
	members := []Endpoint{f.member("custom", "rr"), f.member("small", "rr")}
	want(2)
	for _, ep := range members {
		must(t, f.removeEndpoint(ep))
	}
	want(0)
}

func TestPublishedPorts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	n := f.createNetwork(NetworkRequest{Name: "custom", Subnet: "172.20.0.0/16"})
	ep := f.createEndpoint("custom", tcp(8080, 8080, 80), tcp(9000, 9009, 90))
	f.createEndpoint("custom", tcp(7000, 7000, 70))
	views, err := f.PublishedPorts()
	must(t, err)
	if len(views) != 3 {
		t.Fatalf("%d published ports, want 3", len(views))
	}
	for _, v := range views {
		// The fake counts a rule's index.
		if v.Network.ID != n.ID || v.Index != v.Port.Rule || v.Counters.Packets != uint64(v.Port.Rule) {
			t.Errorf("got %+v", v)
		}
	}
	_, err = f.Unpublish(context.Background(), ep.ID, []PublishedPort{tcp(8080, 8080, 80)})
	must(t, err)
	if views, err = f.PublishedPorts(); err != nil || len(views) != 2 {
		t.Errorf("%d published ports, %v, after one of 3 was removed", len(views), err)
	}
}

// What metrics ask is answered while a verb is at work.
func TestUsageWaitsForNoVerb(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.createNetwork(NetworkRequest{Name: "custom", Subnet: "172.20.0.0/16"})
	f.member("custom", "rr")
	f.verb.Lock()
	defer f.verb.Unlock()
	uses, err := f.AddressUse()
	must(t, err)
	aliases, err := f.AliasSelections()
	must(t, err)
	ports, err := f.PublishedPorts()
	must(t, err)
	if len(uses) == 0 || len(aliases) != 1 || len(ports) != 0 {
		t.Errorf("%d networks, %d aliases, %d ports", len(uses), len(aliases), len(ports))
	}
}
