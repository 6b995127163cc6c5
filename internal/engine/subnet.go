package engine

import (
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/ipam"
)

// Prefix lengths of subnets: a longer one has no room for an endpoint beside
// the gateway, and a shorter one is no network of one host.
const (
	shortestPrefix = 8
	longestPrefix  = 30
)

var errGatewayAlone = apierr.BadParameter("a gateway needs a subnet: add --subnet")

// chooseSubnet returns the subnet and the gateway that were asked for, or the
// first default pool that is free and its first address.
func (e *Engine) chooseSubnet(subnetText, gatewayText string) (subnet netip.Prefix, gateway netip.Addr, err error) {
	if subnetText == "" {
		if gatewayText != "" {
			return subnet, gateway, errGatewayAlone
		}
		subnet, err = e.freePool()
		return subnet, subnet.Addr().Next(), err
	}
	if subnet, err = parseSubnet(subnetText); err != nil {
		return subnet, gateway, err
	}
	if gateway, err = parseGateway(gatewayText, subnet); err != nil {
		return subnet, gateway, err
	}
	return subnet, gateway, e.refuseOverlap(subnet)
}

func (e *Engine) freePool() (netip.Prefix, error) {
	taken, err := e.takenPrefixes(netlink.FAMILY_V4)
	if err != nil {
		return netip.Prefix{}, err
	}
	pool, err := ipam.ChoosePool(taken)
	if err != nil {
		return pool, apierr.Conflict("%s", err)
	}
	return pool, nil
}

// takenPrefixes returns the host's routes of a family, and the subnets of all
// networks.
func (e *Engine) takenPrefixes(family int) ([]netip.Prefix, error) {
	taken, err := e.host.Routes(family)
	if err != nil {
		return nil, err
	}
	for _, n := range e.registry.allNetworks() {
		taken = append(taken, n.Subnets()...)
	}
	return taken, nil
}

func (e *Engine) refuseOverlap(subnet netip.Prefix) error {
	for _, n := range e.registry.allNetworks() {
		if other, overlaps := ipam.Overlap(subnet, n.Subnets()); overlaps {
			return apierr.Conflict("subnet %s overlaps %s of network %s: choose another", subnet, other, n.Name)
		}
	}
	family := netlink.FAMILY_V4
	if subnet.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	routes, err := e.host.Routes(family)
	if err != nil {
		return err
	}
	if route, overlaps := ipam.Overlap(subnet, routes); overlaps {
		return apierr.Conflict("subnet %s overlaps the host's route to %s: choose another", subnet, route)
	}
	return nil
}

func parseSubnet(text string) (netip.Prefix, error) {
	subnet, err := netip.ParsePrefix(text)
	if err != nil {
		return subnet, apierr.BadParameter("invalid subnet %q: write it as ADDRESS/LENGTH, for example 172.20.0.0/16", text)
	}
	if !subnet.Addr().Is4() {
		return subnet, apierr.BadParameter("invalid subnet %q: it is not of IPv4", text)
	}
	if subnet != subnet.Masked() {
		return subnet, apierr.BadParameter("invalid subnet %q: it is an address inside %s: use that", text, subnet.Masked())
	}
	switch bits := subnet.Bits(); {
	case bits > longestPrefix:
		return subnet, apierr.BadParameter("invalid subnet %q: its own address, the gateway and the broadcast address leave none for a container: use /%d or a larger one", text, longestPrefix)
	case bits < shortestPrefix:
		return subnet, apierr.BadParameter("invalid subnet %q: use /%d or a smaller one", text, shortestPrefix)
	}
	if a := subnet.Addr(); a.IsLoopback() || a.As4()[0] == 0 || a.As4()[0] >= 224 {
		return subnet, apierr.BadParameter("invalid subnet %q: it has no unicast addresses: use a private one, for example 172.20.0.0/16", text)
	}
	return subnet, nil
}

// parseGateway reads the gateway's address; "" is the subnet's first one.
func parseGateway(text string, subnet netip.Prefix) (netip.Addr, error) {
	if text == "" {
		return subnet.Addr().Next(), nil
	}
	gateway, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return gateway, apierr.BadParameter("invalid gateway %q: it is not an IP address", text)
	case !subnet.Contains(gateway):
		return gateway, apierr.BadParameter("invalid gateway %s: it is outside the subnet %s", gateway, subnet)
	case gateway == subnet.Addr():
		return gateway, apierr.BadParameter("invalid gateway %s: it is the address of the subnet %s itself", gateway, subnet)
	case !subnet.Contains(gateway.Next()):
		return gateway, apierr.BadParameter("invalid gateway %s: it is the broadcast address of the subnet %s", gateway, subnet)
	}
	return gateway, nil
}
