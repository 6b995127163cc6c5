package engine

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/maps"
)

// networkPlan makes a bridge network, but for the bridge's program: see
// attachLater. Taken back, it removes one.
func (e *Engine) networkPlan(n Network) plan {
	p := plan{{
		name: "record",
		do:   func() error { return e.registry.addNetwork(n) },
		undo: func() error { return e.registry.removeNetwork(n.ID) },
	}}
	p = append(p, e.networkKernelPlan(n, e.attachLater)...)
	return append(p, step{
		name: "ready",
		do:   func() error { return e.registry.setNetworkReady(n) },
	})
}

// networkKernelPlan is the part of networkPlan that the kernel sees. Taken on a
// network that exists, it repairs what differs. How the bridge's program is
// attached is given.
func (e *Engine) networkKernelPlan(n Network, attach func(Network) error) plan {
	ifindex := 0
	p := plan{{
		name: "bridge",
		do: func() (err error) {
			ifindex, err = e.ensureBridge(n)
			return err
		},
		undo: func() error { return e.removeBridge(n) },
	}, {
		name: "network",
		do:   func() error { return e.datapath.SetNetwork(n.Index, datapathNetwork(n, ifindex)) },
		undo: func() error { return e.datapath.ClearNetwork(n.Index) },
	}, {
		name: "programs",
		do:   func() error { return attach(n) },
		undo: func() error { return e.detachBridge(n) },
	}}
	if n.Rule != 0 {
		p = append(p, step{
			name: "masquerade",
			do: func() error {
				return e.datapath.SetRule(n.Rule, maps.Rule{Kind: maps.RuleMasquerade, Network: n.Index})
			},
			undo: func() error { return e.datapath.ClearRule(n.Rule) },
		})
	}
	return append(p, step{
		name: "gateway",
		do:   func() error { return e.writeHostAddrs(e.registry.allNetworks()) },
		undo: func() error {
			others := slices.DeleteFunc(e.registry.allNetworks(), func(other Network) bool { return other.ID == n.ID })
			return e.writeHostAddrs(others)
		},
	})
}

// ensureBridge makes or repairs the bridge. One that another tool made is only
// looked up.
func (e *Engine) ensureBridge(n Network) (ifindex int, err error) {
	if !n.Owned {
		return e.existing(n.Bridge)
	}
	return e.devices.EnsureBridge(bridgeOf(n))
}

// bridgeOf is what a network's bridge has to be like.
func bridgeOf(n Network) netdev.Bridge {
	return netdev.Bridge{
		Name:     n.Bridge,
		Address:  netip.PrefixFrom(n.Gateway, n.Subnet.Bits()),
		Address6: netip.PrefixFrom(n.Gateway6, n.Subnet6.Bits()),
	}
}

// existing returns the ifindex of a device that must be there.
func (e *Engine) existing(device string) (ifindex int, err error) {
	ifindex, err = e.devices.Ifindex(device)
	if err == nil && ifindex == 0 {
		err = fmt.Errorf("the device %s is gone", device)
	}
	return ifindex, err
}

func (e *Engine) removeBridge(n Network) error {
	if !n.Owned {
		return nil
	}
	return e.buryBridge(n)
}

func datapathNetwork(n Network, ifindex int) maps.Network {
	return maps.Network{
		Subnet:   n.Subnet,
		Gateway:  n.Gateway,
		Subnet6:  n.Subnet6,
		Gateway6: n.Gateway6,
		MAC:      netdev.MACFor(n.Gateway),
		Bridge:   uint32(ifindex),
		Rule:     n.Rule,
	}
}
