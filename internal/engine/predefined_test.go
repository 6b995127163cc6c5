package engine

import (
	"context"
	"os"
	"testing"
)

// restartWith is a daemon that starts anew with other wishes of the default network.
func (f *fixture) restartWith(d Default) Network {
	f.t.Helper()
	f.restart()
	f.bridge = &d
	must(f.t, f.Reconcile(context.Background()))
	n, err := f.Network(NetworkBridge)
	must(f.t, err)
	return n
}

func TestDefaultNetworkGetsIPv6(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	plain, err := f.Network(NetworkBridge)
	must(t, err)
	before := f.snapshot()

	dual := f.restartWith(Default{IPv6: true})
	if !dual.HasIPv6() || dual.ID != plain.ID || dual.Subnet != plain.Subnet || dual.Bridge != plain.Bridge {
		t.Errorf("with IPv6: %+v, was %+v", dual, plain)
	}
	if f.datapath.networks[dual.Index].Subnet6 != dual.Subnet6 {
		t.Errorf("the datapath knows %+v", f.datapath.networks[dual.Index])
	}
	if same := f.restartWith(Default{IPv6: true}); same.Subnet6 != dual.Subnet6 {
		t.Errorf("the subnet changed to %s", same.Subnet6)
	}
	if moved := f.restartWith(Default{IPv6: true, Subnet6: "fd00:17::/64"}); moved.Subnet6.String() != "fd00:17::/64" || moved.Gateway6.String() != "fd00:17::1" {
		t.Errorf("the subnet is %s", moved.Subnet6)
	}
	if ep := f.createEndpoint(NetworkBridge); ep.Address6.String() != "fd00:17::2" {
		t.Errorf("an endpoint has %s", ep.Address6)
	}
	// Who is there keeps what he has.
	if kept := f.restartWith(Default{}); kept.Subnet6.String() != "fd00:17::/64" {
		t.Errorf("the subnet is %s", kept.Subnet6)
	}
	for _, ep := range f.Endpoints("") {
		must(t, f.DeleteEndpoint(context.Background(), ep.ID))
	}
	f.restart() // a reset asks for nothing
	must(t, f.Reconcile(context.Background()))
	if n, _ := f.Network(NetworkBridge); !n.HasIPv6() {
		t.Error("IPv6 is gone, and nobody asked for it")
	}
	f.restartWith(Default{})
	f.wantUnchanged(before)
}

func TestValidateDefault(t *testing.T) {
	t.Parallel()
	newFixture(t) // in a namespace of its own
	for _, good := range []Default{{}, {IPv6: true}, {IPv6: true, Subnet6: "fd00:17::/64"}} {
		must(t, good.Validate())
	}
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0))
	for _, bad := range []Default{{Subnet6: "fd00:17::/64"}, {IPv6: true}, {IPv6: true, Subnet6: "fd00:17::1/64"}, {IPv6: true, Subnet6: "172.17.0.0/16"}} {
		if err := bad.Validate(); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	must(t, Default{}.Validate())
}
