package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/sluice-net/sluice/internal/netdev"
)

// RepairDevices makes devices of ours whole again that somebody else may have
// changed. One that is as it should be costs a look.
func (e *Engine) RepairDevices(ctx context.Context, names []string) error {
	e.verb.Lock()
	defer e.verb.Unlock()
	var errs []error
	if slices.Contains(names, netdev.LendingDevice) {
		_, err := e.devices.EnsureLendingDevice()
		errs = append(errs, err)
	}
	for _, n := range e.registry.allNetworks() {
		if slices.Contains(names, n.Bridge) && n.Owned && n.Driver == DriverBridge {
			errs = append(errs, e.repairBridge(ctx, n))
		}
	}
	for _, ep := range e.registry.endpointsOf("") {
		if slices.Contains(names, ep.HostDevice) && ep.Owned {
			errs = append(errs, e.repairVeth(ctx, ep))
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) repairBridge(ctx context.Context, n Network) error {
	intact, err := e.devices.BridgeIntact(bridgeOf(n))
	switch {
	case err != nil:
		return err
	case intact:
		return e.devices.RepairBridge(bridgeOf(n))
	}
	e.log.Warn("somebody changed our bridge: repairing", "device", n.Bridge, "network", n.Name)
	errs := []error{e.adoptNetwork(ctx, n)}
	// Its ports and neighbours went with it.
	for _, ep := range e.registry.endpointsOf(n.ID) {
		errs = append(errs, e.adoptEndpoint(ctx, ep))
	}
	return errors.Join(append(errs, e.adoptAliases())...)
}

func (e *Engine) repairVeth(ctx context.Context, ep Endpoint) error {
	n, err := e.registry.findNetwork(ep.NetworkID)
	if err != nil {
		return err
	}
	intact, err := e.devices.VethIntact(ep.HostDevice, n.Bridge)
	switch {
	case err != nil:
		return err
	case intact:
		return e.devices.RepairVeth(ep.HostDevice)
	}
	if !netdev.NamespaceExists(ep.Sandbox) {
		return nil // it goes with its sandbox
	}
	e.log.Warn("somebody changed our veth: repairing", "device", ep.HostDevice, "owner", ep.Owner)
	return e.adoptEndpoint(ctx, ep)
}

// Repair is Reconcile for an engine at work: verbs can come in between.
func (e *Engine) Repair(ctx context.Context) error {
	errs := []error{e.during(func() error {
		_, err := e.devices.EnsureLendingDevice()
		return err
	})}
	for _, n := range e.registry.allNetworks() {
		errs = append(errs, e.during(func() error {
			if _, err := e.registry.findNetwork(n.ID); err != nil {
				return nil //nolint:nilerr // removed meanwhile
			}
			return e.adoptNetwork(ctx, n)
		}))
	}
	for _, ep := range e.registry.endpointsOf("") {
		errs = append(errs, e.during(func() error {
			now, err := e.registry.findEndpoint(ep.ID)
			if err != nil || !netdev.NamespaceExists(now.Sandbox) {
				return nil //nolint:nilerr // removed meanwhile, or about to be
			}
			return e.adoptEndpoint(ctx, now)
		}))
	}
	errs = append(errs, e.during(func() error {
		return errors.Join(e.adoptAliases(), e.removeStrays(), e.writeHost())
	}))
	return errors.Join(errs...)
}

func (e *Engine) during(fn func() error) error {
	e.verb.Lock()
	defer e.verb.Unlock()
	return fn()
}
