package engine

import (
	"errors"
	"net/netip"

	"github.com/sluice-net/sluice/internal/hostnet"
	"github.com/sluice-net/sluice/maps"
)

// HostChanged tells the datapath of the host's uplinks and addresses. Ports
// can be published on an address of the host once this was called.
func (e *Engine) HostChanged(state hostnet.State) {
	e.verb.Lock()
	defer e.verb.Unlock()
	e.seen = &state
	if err := e.writeHost(); err != nil {
		e.log.Error("the datapath does not know the host's network", "error", err)
	}
}

// ForwardingChanged repairs the sysctls of our devices, which a write to the
// host's forwarding switch resets.
func (e *Engine) ForwardingChanged() {
	e.verb.Lock()
	defer e.verb.Unlock()
	_, err := e.devices.EnsureLendingDevice()
	errs := []error{err}
	for _, n := range e.registry.allNetworks() {
		if n.Owned && n.Driver == DriverBridge {
			errs = append(errs, e.devices.RepairBridge(bridgeOf(n)))
		}
	}
	for _, ep := range e.registry.endpointsOf("") {
		if ep.Owned {
			errs = append(errs, e.devices.RepairVeth(ep.HostDevice))
		}
	}
	if err := errors.Join(errs...); err != nil {
		e.log.Error("repair the sysctls of our devices", "error", err)
	}
}

// writeHost writes everything that the datapath knows of the host.
func (e *Engine) writeHost() error {
	if e.seen == nil {
		return nil
	}
	uplinks := make([]Uplink, 0, len(e.seen.Uplinks))
	for _, u := range e.seen.Uplinks {
		uplinks = append(uplinks, Uplink(u))
	}
	return errors.Join(
		e.datapath.SetUplinks(uplinks),
		e.writeHostAddrs(e.registry.allNetworks()),
	)
}

// writeHostAddrs writes the host's addresses, the networks' gateways among
// them. Before the host's own are known it leaves those of an earlier daemon.
func (e *Engine) writeHostAddrs(networks []Network) error {
	if e.seen == nil {
		return nil
	}
	var addrs []maps.HostAddr
	gateways := map[netip.Addr]bool{}
	for _, n := range networks {
		if n.Driver == DriverBridge {
			for _, gateway := range valid(n.Gateway, n.Gateway6) {
				addrs = append(addrs, maps.HostAddr{Addr: gateway, Network: n.Index})
				gateways[gateway] = true
			}
		}
	}
	for _, addr := range e.seen.Addrs {
		if !gateways[addr] {
			addrs = append(addrs, maps.HostAddr{Addr: addr})
		}
	}
	return e.datapath.SetHostAddrs(addrs)
}

// hasAddress reports whether a port can be published on the address: one of
// the host's own, a gateway, or a loopback one.
func (e *Engine) hasAddress(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	for _, n := range e.registry.allNetworks() {
		if n.Driver == DriverBridge && (n.Gateway == addr || n.Gateway6 == addr) {
			return true
		}
	}
	if e.seen != nil {
		for _, own := range e.seen.Addrs {
			if own == addr {
				return true
			}
		}
	}
	return false
}

// Unreachable returns the ports that are published on an address which the host
// does not have any more: nobody reaches them before it is back.
func (e *Engine) Unreachable() []PublishedPort {
	e.verb.Lock()
	defer e.verb.Unlock()
	var ports []PublishedPort
	for _, ep := range e.registry.endpointsOf("") {
		for _, p := range ep.Ports {
			if !p.HostAddr.IsUnspecified() && !e.hasAddress(p.HostAddr) {
				ports = append(ports, p)
			}
		}
	}
	return ports
}
