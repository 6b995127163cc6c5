package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/netdev/netdevtest"
)

func TestCreateAndDeleteEndpoint(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before := f.snapshot()
	f.datapath.takeCalls()
	ep := f.createEndpoint("bridge", tcp(8080, 8080, 80), tcp(8443, 8443, 443))
	if ep.Address.String() != "172.17.0.2" || ep.MAC.String() != "02:42:ac:11:00:02" || len(ep.ID) != 64 || !ep.Owned {
		t.Errorf("endpoint: %+v", ep)
	}
	want := []string{
		"SetEndpoint 1 ready=false translated=true",
		"attach filter " + ep.HostDevice,
		"SetRules [2 3]",
		"SetEndpoint 1 ready=true translated=true",
	}
	if got := f.datapath.takeCalls(); !slices.Equal(got, want) {
		t.Errorf("calls: %q, want %q", got, want)
	}
	if got, err := f.Endpoint(ep.ID); err != nil || got.Address != ep.Address {
		t.Errorf("Endpoint = %+v, %v", got, err)
	}
	for range 2 {
		must(t, f.DeleteEndpoint(context.Background(), ep.ID))
	}
	f.Settle()
	want = []string{
		"ClearRules [2 3]",
		"ClearEndpoint 1",
		"detach container " + ep.HostDevice,
	}
	if got := f.datapath.takeCalls(); !slices.Equal(got, want) {
		t.Errorf("calls: %q, want %q", got, want)
	}
	f.wantUnchanged(before)
	_, err := f.Endpoint(ep.ID)
	wantError(t, err, 404, "not found")
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	first, second := f.createEndpoint("bridge"), f.createEndpoint("bridge")
	if first.Address.String() != "172.17.0.2" || second.Address.String() != "172.17.0.3" {
		t.Errorf("addresses %s, %s", first.Address, second.Address)
	}
	must(t, f.DeleteEndpoint(ctx, first.ID))
	if again := f.createEndpoint("bridge"); again.Address != first.Address {
		t.Errorf("the freed address is not handed out again: %s", again.Address)
	}

	req := f.request("bridge")
	req.Address = netip.MustParseAddr("172.17.9.9")
	ep, err := f.CreateEndpoint(ctx, req)
	if err != nil || ep.Address != req.Address || ep.Requested != req.Address {
		t.Errorf("requested address: %+v, %v", ep, err)
	}
	for addr, want := range map[string]struct {
		status int
		part   string
	}{
		"172.17.9.9": {409, "Address already in use"},
		"172.17.0.1": {409, "Address already in use"},
		"10.0.0.1":   {400, "outside the subnet 172.17.0.0/16"},
		"fd00::1":    {400, "outside the subnet"},
	} {
		req := f.request("bridge")
		req.Address = netip.MustParseAddr(addr)
		before := f.snapshot()
		_, err := f.CreateEndpoint(ctx, req)
		wantError(t, err, want.status, want.part)
		f.wantUnchanged(before)
	}
}

func TestNetworkIsExhausted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.createNetwork(NetworkRequest{Name: "tiny", Subnet: "10.0.0.0/30"})
	f.createEndpoint("tiny")
	req := f.request("tiny")
	before := f.snapshot()
	_, err := f.CreateEndpoint(context.Background(), req)
	wantError(t, err, 409, "no available IPv4 addresses in the subnet 10.0.0.0/30 of network tiny")
	f.wantUnchanged(before)
}

func TestCreateEndpointRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	taken := f.createEndpoint("bridge")
	for name, c := range map[string]struct {
		change func(*EndpointRequest)
		status int
		part   string
	}{
		"network": {func(r *EndpointRequest) { r.NetworkID = "nowhere" }, 404, "network nowhere not found"},
		"driver":  {func(r *EndpointRequest) { r.NetworkID = "none" }, 400, "network none has no endpoints"},
		"sandbox": {func(r *EndpointRequest) { r.Sandbox = "/proc" }, 400, "not a network namespace"},
		"device":  {func(r *EndpointRequest) { r.Sandbox = taken.Sandbox }, 409, "connected already"},
		"port":    {func(r *EndpointRequest) { r.Ports = []PublishedPort{tcp(80, 80, 0)} }, 400, "invalid published port"},
	} {
		req := f.request("bridge")
		c.change(&req)
		before := f.snapshot()
		_, err := f.CreateEndpoint(context.Background(), req)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		wantError(t, err, c.status, c.part)
		f.wantUnchanged(before)
	}
}

// TestParallelVerbs lets many goroutines create, look up and delete at once.
// The engine's namespace is entered by each.
func TestParallelVerbs(t *testing.T) {
	t.Parallel()
	host := netdevtest.NewNamespace(t)
	netdevtest.EnterPath(t, host)
	f := newFixtureHere(t)
	before := f.snapshot()
	requests := make([]EndpointRequest, 8)
	for i := range requests {
		port := uint16(8000 + i)
		requests[i] = f.request("bridge", tcp(port, port, 80))
	}
	var wait sync.WaitGroup
	for _, req := range requests {
		wait.Go(func() {
			err := netdev.InNamespace(host, func() error { return churn(f.Engine, req) })
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	f.wantUnchanged(before)
}

func churn(e *Engine, req EndpointRequest) error {
	ctx := context.Background()
	for range 3 {
		ep, err := e.CreateEndpoint(ctx, req)
		if err != nil {
			return err
		}
		if _, err := e.Rules(); err != nil {
			return err
		}
		if !e.Owns(ep.HostDevice) || len(e.Endpoints(ep.NetworkID)) == 0 {
			return fmt.Errorf("the endpoint %s is not known", ep.ID)
		}
		if err := e.DeleteEndpoint(ctx, ep.ID); err != nil {
			return err
		}
	}
	return nil
}

func TestInternalEndpointHasNoDefaultRoute(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.createNetwork(NetworkRequest{Name: "inside", Internal: true})
	for network, want := range map[string]string{"inside": "[]", "bridge": "[default via 172.17.0.1]"} {
		ep := f.createEndpoint(network)
		var got []string
		must(t, netdev.InNamespace(ep.Sandbox, func() error {
			routes, err := defaultRoutes()
			got = routes
			return err
		}))
		if text := "[" + strings.Join(got, " ") + "]"; text != want {
			t.Errorf("%s: %s, want %s", network, text, want)
		}
	}
}
