package engine

import (
	"context"
	"errors"

	"github.com/sluice-net/sluice/internal/netdev"
)

// Reset takes everything away: endpoints, networks with the predefined ones,
// devices that carry our mark, and what the datapath knows of the host. Entries
// that nothing accounts for are left to go with the maps. It goes on after
// errors and returns all of them. The engine is of no use afterwards until
// Reconcile.
func (e *Engine) Reset(_ context.Context) error {
	e.verb.Lock()
	defer e.verb.Unlock()
	var errs []error
	for _, ep := range e.registry.endpointsOf("") {
		errs = append(errs, e.removeEndpoint(ep))
	}
	for _, n := range e.registry.allNetworks() {
		if n.Driver == DriverBridge {
			errs = append(errs, e.networkPlan(n).teardown())
		} else {
			errs = append(errs, e.registry.removeNetwork(n.ID))
		}
	}
	e.graveyard.settle()
	errs = append(errs,
		e.datapath.SweepPrograms(e.Owns),
		e.RemoveStrayDevices(),
		e.devices.DeleteDevice(netdev.LendingDevice),
		e.datapath.SetUplinks(nil),
		e.datapath.SetHostAddrs(nil),
	)
	return errors.Join(errs...)
}
