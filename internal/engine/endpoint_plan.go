package engine

import (
	"net/netip"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/maps"
)

// endpointPlan attaches an endpoint; taken back, it removes one. The record
// comes first and takes the address, so that a crash leaves nothing unknown;
// the datapath delivers only once everything is in place.
func (e *Engine) endpointPlan(n Network, ep *Endpoint) plan {
	ifindex := 0
	p := plan{{
		name: "record",
		do:   func() error { return e.registry.addEndpoint(ep, n) },
		undo: func() error { return e.registry.removeEndpoint(ep.ID) },
	}}
	p = append(p, step{
		name: "network",
		do:   func() error { return e.ensureAttached(n) },
	})
	p = append(p, e.endpointKernelPlan(n, ep, &ifindex, e.filter, false)...)
	p = append(p, step{
		name: "sockets",
		do:   func() error { return e.refuseTakenBySockets(ep.Ports) },
	}, step{
		name: "deliver",
		do:   func() error { return e.writeEndpoint(n, *ep, ifindex, true) },
	})
	p = append(p, e.aliasSteps(n, ep)...)
	return append(p, step{
		name: "ready",
		do:   func() error { return e.registry.updateEndpoint(*ep) },
	})
}

// endpointKernelPlan is the part of endpointPlan that the kernel sees. Taken on
// an endpoint that exists, it repairs what differs. How the endpoint's program is
// attached is given; deliver says whether packets may reach the endpoint
// meanwhile.
func (e *Engine) endpointKernelPlan(n Network, ep *Endpoint, ifindex *int, attach func(Endpoint, int) error, deliver bool) plan {
	p := plan{{
		name: "veth",
		do: func() (err error) {
			*ifindex, err = e.ensureVeth(n, *ep)
			return err
		},
		undo: func() error { e.removeVeth(n, *ep); return nil },
	}, {
		name: "endpoint",
		do:   func() error { return e.writeEndpoint(n, *ep, *ifindex, deliver) },
		undo: func() error { return e.datapath.ClearEndpoint(ep.Index) },
	}, {
		name: "programs",
		do:   func() error { return attach(*ep, *ifindex) },
		undo: func() error { return e.detachContainer(*ep) },
	}}
	if len(ep.Ports) > 0 {
		p = append(p, e.publishStep(ep.Index, ep.Ports))
	}
	return p
}

// ensureVeth makes or repairs the veth. One that another tool made is only
// looked up.
func (e *Engine) ensureVeth(n Network, ep Endpoint) (ifindex int, err error) {
	if !ep.Owned {
		return e.existing(ep.HostDevice)
	}
	return e.devices.EnsureVeth(vethOf(n, ep))
}

// vethOf is what an endpoint's veth has to be like.
func vethOf(n Network, ep Endpoint) netdev.Veth {
	v := netdev.Veth{
		Name:     ep.HostDevice,
		Bridge:   n.Bridge,
		Sandbox:  ep.Sandbox,
		Device:   ep.Device,
		MAC:      ep.MAC,
		Address:  netip.PrefixFrom(ep.Address, n.Subnet.Bits()),
		Address6: netip.PrefixFrom(ep.Address6, n.Subnet6.Bits()),
	}
	if !n.Internal {
		v.Gateway, v.Gateway6 = n.Gateway, n.Gateway6
	}
	return v
}

// announce tells an endpoint's neighbours of its IPv6 address. Nobody waits for
// that: it takes until the kernel has noticed that the devices are up, and
// neighbours that miss it ask when they are in doubt.
func (e *Engine) announce(n Network, ep Endpoint) {
	if !ep.Owned || !n.HasIPv6() {
		return
	}
	e.announcing.Go(func() {
		if err := e.devices.Announce(vethOf(n, ep)); err != nil {
			e.log.Debug("neighbours were not told of an address", "endpoint", ep.ID, "error", err)
		}
	})
}

func (e *Engine) removeVeth(n Network, ep Endpoint) {
	if ep.Owned {
		e.buryVeth(n, ep)
	}
}

// writeEndpoint tells the datapath of an endpoint.
func (e *Engine) writeEndpoint(n Network, ep Endpoint, ifindex int, deliver bool) error {
	return e.datapath.SetEndpoint(ep.Index, maps.Endpoint{
		Network:    n.Index,
		Addr:       ep.Address,
		Addr6:      ep.Address6,
		MAC:        ep.MAC,
		Ifindex:    uint32(ifindex),
		Translated: len(ep.Ports) > 0 || len(vipNames(n, ep)) > 0,
		Ready:      deliver,
		Final:      e.filtered[ep.ID],
	})
}
