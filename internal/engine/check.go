package engine

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/sluice-net/sluice/internal/netdev"
)

// Check says, a phrase each, in what our devices and the bridges' neighbours are
// not as the intent has them. It waits for the verb that is under way, and
// changes nothing: the next repair does.
func (e *Engine) Check() (devices, neighbours []string, err error) {
	e.verb.Lock()
	defer e.verb.Unlock()
	if devices, err = e.devices.CheckLendingDevice(); err != nil {
		return nil, nil, err
	}
	for _, n := range e.registry.allNetworks() {
		if n.Driver != DriverBridge || !n.Owned || !e.registry.isNetworkReady(n.ID) {
			continue
		}
		found, err := e.devices.CheckBridge(bridgeOf(n))
		if err != nil {
			return nil, nil, err
		}
		devices = append(devices, found...)
		want := map[netip.Addr]net.HardwareAddr{}
		for _, ep := range e.registry.endpointsOf(n.ID) {
			if !ep.Owned || !e.registry.isEndpointReady(ep.ID) {
				continue
			}
			found, err := e.devices.CheckVeth(ep.HostDevice, n.Bridge)
			if err != nil {
				return nil, nil, err
			}
			devices = append(devices, found...)
			for _, addr := range ep.Addresses() {
				want[addr] = ep.MAC
			}
		}
		for _, a := range e.registry.allAliases() {
			if a.NetworkID != n.ID {
				continue
			}
			for _, addr := range a.Addresses() {
				want[addr] = netdev.MACFor(a.Address)
			}
		}
		missing, err := e.devices.CheckNeighbours(n.Bridge, want)
		if err != nil {
			return nil, nil, err
		}
		for _, addr := range missing {
			neighbours = append(neighbours, fmt.Sprintf("%s is no permanent neighbour on %s", addr, n.Bridge))
		}
	}
	return devices, neighbours, nil
}
