package engine

import (
	"context"
	"slices"
	"testing"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/vishvananda/netlink"
)

func TestReconcileAdoptsWhatIsThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ep := f.createEndpoint("bridge", tcp(8080, 8080, 80))
	before := f.snapshot()
	f.restart()
	f.datapath.takeCalls()
	must(t, f.Reconcile(context.Background()))
	f.wantUnchanged(before)
	for _, call := range f.datapath.takeCalls() {
		if call == "SetEndpoint 1 ready=false translated=true" {
			t.Error("the endpoint was out of service meanwhile")
		}
	}
	if got, err := f.Endpoint(ep.ID); err != nil || !slices.Equal(got.Ports, ep.Ports) {
		t.Errorf("endpoint %+v, %v", got, err)
	}
	must(t, f.DeleteEndpoint(context.Background(), ep.ID))
}

// TestReconcileRepairs takes away, as another tool or a reboot might, what the
// kernel has.
func TestReconcileRepairs(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(f *fixture, ep Endpoint) error{
		"bridge":   func(f *fixture, _ Endpoint) error { return f.devices.DeleteDevice("sluice0") },
		"veth":     func(f *fixture, ep Endpoint) error { return f.devices.DeleteDevice(ep.HostDevice) },
		"lending":  func(f *fixture, _ Endpoint) error { return f.devices.DeleteDevice(netdev.LendingDevice) },
		"address":  func(*fixture, Endpoint) error { return dropAddresses("sluice0") },
		"datapath": func(f *fixture, _ Endpoint) error { *f.datapath = *newFakeDatapath(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			ep := f.createEndpoint("bridge", tcp(8080, 8080, 80))
			before := f.snapshot()
			must(t, damage(f, ep))
			f.restart()
			must(t, f.Reconcile(context.Background()))
			f.wantUnchanged(before)
			link, err := netlink.LinkByName("sluice0")
			must(t, err)
			addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
			if err != nil || len(addrs) != 1 {
				t.Errorf("addresses of the bridge: %v, %v", addrs, err)
			}
		})
	}
}

func dropAddresses(device string) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if err := netlink.AddrDel(link, &a); err != nil {
			return err
		}
	}
	return nil
}

func TestReconcileDropsDeadEndpoints(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before := f.snapshot()
	ep := f.createEndpoint("bridge", tcp(8080, 8080, 80))
	must(t, netdev.DeleteNamespace(ep.Sandbox))
	f.restart()
	must(t, f.Reconcile(context.Background()))
	f.wantUnchanged(before)
}

// TestReconcileTakesHalfMadeAway stops the plans after each step, as a kill of
// the daemon does.
func TestReconcileTakesHalfMadeAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	req := f.request("bridge", tcp(8080, 8080, 80))
	before := f.snapshot()
	stop := func(makePlan func() plan) {
		t.Helper()
		for last := range len(makePlan()) - 1 {
			for _, s := range makePlan()[:last+1] {
				must(t, s.do())
			}
			f.restart()
			must(t, f.Reconcile(context.Background()))
			f.wantUnchanged(before)
		}
	}
	stop(func() plan {
		n, err := f.intendNetwork(NetworkRequest{Name: "custom"})
		must(t, err)
		n.Bridge = "br-test"
		return f.networkPlan(n)
	})
	stop(func() plan {
		n, ep, err := f.intendEndpoint(req)
		must(t, err)
		return f.endpointPlan(n, &ep)
	})
}

func TestReconcileRemovesStrays(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before := f.snapshot()
	n := f.createNetwork(NetworkRequest{Name: "custom"})
	f.createEndpoint("custom", tcp(8080, 8080, 80))
	for _, ep := range f.Endpoints(n.ID) {
		must(t, f.registry.removeEndpoint(ep.ID))
	}
	must(t, f.registry.removeNetwork(n.ID))
	f.restart()
	must(t, f.Reconcile(context.Background()))
	f.wantUnchanged(before)
}

func TestForeignDeviceHasOurName(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	must(t, f.Reset(context.Background()))
	attrs := netlink.NewLinkAttrs()
	attrs.Name = defaultBridge
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	f.restart()
	wantError(t, f.Reconcile(context.Background()), 409, "a device sluice0 that is not ours")
	if _, err := netlink.LinkByName(defaultBridge); err != nil {
		t.Errorf("the foreign device: %v", err)
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.createNetwork(NetworkRequest{Name: "custom"})
	f.createEndpoint("custom", tcp(8080, 8080, 80))
	f.createEndpoint("bridge")
	must(t, f.Reset(context.Background()))
	links, err := netlink.LinkList()
	must(t, err)
	if len(links) != 1 {
		t.Errorf("devices are left: %v", links)
	}
	if got := f.datapath.dump(); got != "addrs [] uplinks []\n" {
		t.Errorf("the datapath has left: %s", got)
	}
	for _, bucket := range []string{networkBucket, endpointBucket, "ipam"} {
		must(t, f.db.Each(bucket, func(key string, _ []byte) error {
			t.Errorf("left in the store: %s/%s", bucket, key)
			return nil
		}))
	}
	must(t, f.Reset(context.Background()))
	must(t, f.Reconcile(context.Background()))
	if len(f.Networks()) != 3 {
		t.Errorf("after Reset and Reconcile: %v", f.Networks())
	}
}
