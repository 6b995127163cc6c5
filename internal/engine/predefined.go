package engine

import (
	"context"
	"errors"
	"time"

	"github.com/sluice-net/sluice/internal/netdev"
)

// Default is what the user asks of the default network.
type Default struct {
	IPv6    bool   // beside IPv4
	Subnet6 string // "" for the one that it has, or the first default pool that is free
}

// Validate returns what is wrong with it. It looks at the calling thread's network
// namespace.
func (d Default) Validate() error {
	switch {
	case !d.IPv6 && d.Subnet6 != "":
		return errors.New("an IPv6 subnet of the default network needs IPv6: add --ipv6")
	case !d.IPv6:
		return nil
	}
	if d.Subnet6 != "" {
		if _, err := parseSubnet6(d.Subnet6); err != nil {
			return err
		}
	}
	return netdev.RequireIPv6()
}

// request is for a new default network.
func (d Default) request() NetworkRequest {
	return NetworkRequest{Name: NetworkBridge, IPv6: d.IPv6, Subnet6: d.Subnet6}
}

// describes reports whether a network is as the user asks.
func (d Default) describes(n Network) bool {
	return d.IPv6 == n.HasIPv6() && (d.Subnet6 == "" || d.Subnet6 == n.Subnet6.String())
}

// ensurePredefined makes the networks that are there from the start.
func (e *Engine) ensurePredefined(ctx context.Context) error {
	for name, driver := range map[string]string{NetworkHost: DriverHost, NetworkNone: DriverNull} {
		if _, ok := e.registry.networkNamed(name); ok {
			continue
		}
		n := Network{ID: newID(), Name: name, Driver: driver, Created: time.Now()}
		if err := e.registry.addNetwork(n); err != nil {
			return err
		}
	}
	n, ok := e.registry.networkNamed(NetworkBridge)
	switch {
	case !ok && e.bridge == nil:
		return e.createDefault(ctx, Default{})
	case !ok:
		return e.createDefault(ctx, *e.bridge)
	case e.bridge == nil || e.bridge.describes(n):
		return nil
	}
	return e.changeDefault(ctx, n)
}

func (e *Engine) createDefault(ctx context.Context, d Default) error {
	n, err := e.createNetwork(ctx, d.request(), func(string) string { return defaultBridge })
	if err != nil {
		return err
	}
	return e.attachBridge(n)
}

// changeDefault gives the default network IPv6, another IPv6 subnet, or takes it
// away. Endpoints would have to be made anew for that: while there are any it
// stays as it is. The record is replaced at once, for containers know its ID.
func (e *Engine) changeDefault(ctx context.Context, n Network) error {
	if len(e.registry.endpointsOf(n.ID)) > 0 {
		e.log.Warn("the default network keeps its IPv6 settings, for containers run in it: start the daemon when none does", "subnet6", n.Subnet6)
		return nil
	}
	subnet, gateway, err := e.chooseSubnet6(e.bridge.request())
	if err != nil {
		return err
	}
	if err := e.networkKernelPlan(n, e.attachLater).unwind(); err != nil {
		return err
	}
	e.graveyard.settle() // its name is needed again
	e.graveyard.settle() // the device's name is needed again
	n.Subnet6, n.Gateway6 = subnet, gateway
	if err := e.registry.replaceNetwork(n); err != nil {
		return err
	}
	e.log.Info("the default network has changed", "subnet6", n.Subnet6)
	return e.adoptNetwork(ctx, n)
}
