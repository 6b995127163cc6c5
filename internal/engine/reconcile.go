package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-net/sluice/internal/netdev"
)

// Reconcile makes the kernel agree with the intent: it makes the predefined
// networks, takes away what a crash left half made and endpoints whose sandbox
// is gone, and repairs the rest without disturbing what is right. It goes on
// after errors and returns all of them.
func (e *Engine) Reconcile(ctx context.Context) error {
	e.verb.Lock()
	defer e.verb.Unlock()
	_, err := e.devices.EnsureLendingDevice()
	errs := []error{err}
	errs = append(errs, e.dropDeadEndpoints(), e.dropHalfMadeNetworks())
	for _, n := range e.registry.allNetworks() {
		errs = append(errs, e.adoptNetwork(ctx, n))
	}
	for _, ep := range e.registry.endpointsOf("") {
		errs = append(errs, e.adoptEndpoint(ctx, ep))
	}
	errs = append(errs, e.adoptAliases(), e.removeStrays())
	e.graveyard.settle() // or the default bridge's name may still be taken
	errs = append(errs, e.ensurePredefined(ctx), e.writeHost())
	return errors.Join(errs...)
}

// dropDeadEndpoints takes away the endpoints that are half made and those whose
// sandbox is gone.
func (e *Engine) dropDeadEndpoints() error {
	var errs []error
	for _, ep := range e.registry.endpointsOf("") {
		if e.registry.isEndpointReady(ep.ID) && netdev.NamespaceExists(ep.Sandbox) {
			continue
		}
		e.log.Info("endpoint of an earlier daemon is dead", "id", ep.ID, "owner", ep.Owner)
		errs = append(errs, e.removeEndpoint(ep))
	}
	return errors.Join(errs...)
}

func (e *Engine) dropHalfMadeNetworks() error {
	var errs []error
	for _, n := range e.registry.allNetworks() {
		if n.Driver != DriverBridge || e.registry.isNetworkReady(n.ID) {
			continue
		}
		e.log.Info("network of an earlier daemon is half made", "id", n.ID, "name", n.Name)
		errs = append(errs, e.networkPlan(n).teardown())
	}
	return errors.Join(errs...)
}

// adoptNetwork repairs a network's bridge and what the datapath knows of it.
func (e *Engine) adoptNetwork(ctx context.Context, n Network) error {
	if n.Driver != DriverBridge {
		return nil
	}
	if err := repair(ctx, e.networkKernelPlan(n, e.attachBridge)); err != nil {
		return fmt.Errorf("repair network %s: %w", n.Name, err)
	}
	return nil
}

// adoptEndpoint repairs an endpoint. One whose veth is there goes on meanwhile;
// one whose veth is gone gets no packet before it is complete again.
func (e *Engine) adoptEndpoint(ctx context.Context, ep Endpoint) error {
	n, err := e.registry.findNetwork(ep.NetworkID)
	if err != nil {
		return err
	}
	ifindex, err := e.devices.Ifindex(ep.HostDevice)
	if err != nil {
		return err
	}
	if err := e.findFilter(ep, ifindex); err != nil {
		return err
	}
	p := e.endpointKernelPlan(n, &ep, &ifindex, e.attachContainer, ifindex != 0)
	p = append(p, step{
		name: "deliver",
		do:   func() error { return e.writeEndpoint(n, ep, ifindex, true) },
	})
	if err := repair(ctx, p); err != nil {
		return fmt.Errorf("repair the endpoint of %s in network %s: %w", ep.Owner, n.Name, err)
	}
	return nil
}

// repair takes the steps of a plan and leaves what was done when one fails.
func repair(ctx context.Context, p plan) error {
	for _, s := range p {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// removeStrays removes what no record knows: devices that carry our mark,
// neighbours, entries and attachments of the datapath.
func (e *Engine) removeStrays() error {
	return errors.Join(e.datapath.Sweep(e.registry.inUse()), e.datapath.SweepPrograms(e.Owns), e.RemoveStrayDevices(), e.removeStrayNeighbours())
}

// removeStrayNeighbours removes the permanent neighbours of our bridges whose
// address nobody has: an earlier daemon has removed the endpoint, and did not
// live to forget it.
func (e *Engine) removeStrayNeighbours() error {
	var errs []error
	for _, n := range e.registry.allNetworks() {
		if !n.Owned || n.Driver != DriverBridge {
			continue
		}
		known, err := e.devices.PermanentNeighbours(n.Bridge)
		errs = append(errs, err)
		if len(known) == 0 {
			continue
		}
		taken := e.registry.addressesIn(n.ID)
		for _, addr := range known {
			if !taken[addr] {
				errs = append(errs, e.devices.DeleteNeighbour(n.Bridge, addr))
			}
		}
	}
	return errors.Join(errs...)
}

// RemoveStrayDevices deletes the devices that carry our mark and that no record
// knows: an earlier daemon has removed what they belonged to. It is called
// before the host's devices are watched, which they would be taken for.
func (e *Engine) RemoveStrayDevices() error {
	marked, err := e.devices.Marked()
	if err != nil {
		return err
	}
	strays := slices.DeleteFunc(marked, e.Owns)
	if len(strays) > 0 {
		e.log.Info("devices of an earlier daemon are left over", "names", strays)
	}
	return e.devices.DeleteDevices(strays)
}
