package engine

import (
	"errors"
	"os"

	"github.com/sluice-net/sluice/internal/netdev"
)

// deleteBuried deletes devices. One that cannot be deleted is a stray from then
// on, which the next repair finds.
func (e *Engine) deleteBuried(batch []burial) {
	names := make([]string, 0, len(batch))
	var errs []error
	for _, b := range batch {
		names = append(names, b.device)
		errs = append(errs, e.forgetNeighbours(b))
	}
	errs = append(errs, e.devices.DeleteDevices(names))
	for _, b := range batch {
		errs = append(errs, b.detach(b.device))
		if b.sandbox != nil {
			_ = b.sandbox.Close()
		}
		e.registry.setDying(b.device, false)
	}
	if err := errors.Join(errs...); err != nil {
		e.log.Error("delete devices that were taken out of service", "devices", names, "error", err)
	}
}

// forgetNeighbours removes the neighbour entries of an endpoint's addresses,
// unless somebody else has an address by now.
func (e *Engine) forgetNeighbours(b burial) error {
	if b.bridge == "" {
		return nil
	}
	var errs []error
	for _, addr := range b.endpoint.Addresses() {
		if e.registry.successor(b.endpoint, addr) != nil {
			continue
		}
		errs = append(errs, e.devices.DeleteNeighbour(b.bridge, addr))
		if mac := e.registry.successor(b.endpoint, addr); mac != nil {
			// It came in between, and may have made the entry before.
			errs = append(errs, e.devices.EnsureNeighbour(b.bridge, addr, mac))
		}
	}
	return errors.Join(errs...)
}

// buryVeth leaves an endpoint's veth to the graveyard.
func (e *Engine) buryVeth(n Network, ep Endpoint) {
	b := burial{
		device: ep.HostDevice, detach: e.datapath.DetachContainer,
		endpoint: ep, bridge: n.Bridge,
	}
	if netdev.NamespaceExists(ep.Sandbox) {
		b.sandbox, _ = os.Open(ep.Sandbox)
	}
	e.graveyard.bury(b)
}

// buryBridge leaves a network's bridge to the graveyard. Its addresses go at
// once, and the routes to the subnets with them: another network can have them.
func (e *Engine) buryBridge(n Network) error {
	if err := e.devices.DeleteAddresses(bridgeOf(n)); err != nil {
		return err
	}
	e.graveyard.bury(burial{device: n.Bridge, detach: e.datapath.DetachBridge})
	return nil
}

// Settle returns when everything is done that verbs have left for later.
func (e *Engine) Settle() {
	e.verb.Lock()
	defer e.verb.Unlock()
	e.linkAll()
	e.graveyard.settle()
}

// Close is Settle, and ends the engine. No verb may come any more.
func (e *Engine) Close() {
	e.verb.Lock()
	defer e.verb.Unlock()
	e.linking.timer.Stop()
	e.linkAll()
	clear(e.filtered) // or who waits for the lock by now would try again
	e.announcing.Wait()
	e.graveyard.close()
}
