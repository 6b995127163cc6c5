package engine

import (
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/ipam"
	"github.com/sluice-net/sluice/internal/netdev"
)

// Prefix lengths of IPv6 subnets: a longer one has no room for an endpoint beside
// the gateway, and a shorter one is no network of one host.
const (
	shortestPrefix6 = 16
	longestPrefix6  = 126
)

// endpointPrefixes are what endpoints can have addresses of: global unicast and
// unique local (RFC 4291, RFC 4193).
var endpointPrefixes = []netip.Prefix{netip.MustParsePrefix("2000::/3"), netip.MustParsePrefix("fc00::/7")}

// AddSubnet adds what a user asked of one subnet: its prefix, its gateway, or
// both. Its family is that of its text.
func (r *NetworkRequest) AddSubnet(subnet, gateway string) error {
	into, intoGateway := &r.Subnet, &r.Gateway
	if strings.Contains(subnet+gateway, ":") {
		into, intoGateway = &r.Subnet6, &r.Gateway6
	}
	if *into != "" || *intoGateway != "" {
		return apierr.BadParameter("a network has one subnet and one gateway of each family: leave %s out, or make another network", strings.TrimSpace(subnet+" "+gateway))
	}
	*into, *intoGateway = subnet, gateway
	return nil
}

// chooseSubnet6 is chooseSubnet for IPv6; without that it returns zero values.
func (e *Engine) chooseSubnet6(req NetworkRequest) (subnet netip.Prefix, gateway netip.Addr, err error) {
	if !req.IPv6 {
		if asked := req.Subnet6 + req.Gateway6; asked != "" {
			return subnet, gateway, apierr.BadParameter("%s is of IPv6: add --ipv6", asked)
		}
		return subnet, gateway, nil
	}
	if err := netdev.RequireIPv6(); err != nil {
		return subnet, gateway, apierr.Conflict("%s", err)
	}
	if req.Subnet6 == "" {
		if req.Gateway6 != "" {
			return subnet, gateway, errGatewayAlone
		}
		subnet, err = e.freePool6()
		return subnet, subnet.Addr().Next(), err
	}
	if subnet, err = parseSubnet6(req.Subnet6); err != nil {
		return subnet, gateway, err
	}
	if gateway, err = parseGateway6(req.Gateway6, subnet); err != nil {
		return subnet, gateway, err
	}
	return subnet, gateway, e.refuseOverlap(subnet)
}

func (e *Engine) freePool6() (netip.Prefix, error) {
	local, err := ipam.UniqueLocal(e.registry.db)
	if err != nil {
		return netip.Prefix{}, err
	}
	taken, err := e.takenPrefixes(netlink.FAMILY_V6)
	if err != nil {
		return netip.Prefix{}, err
	}
	pool, err := ipam.ChoosePool6(local, taken)
	if err != nil {
		return pool, apierr.Conflict("%s", err)
	}
	return pool, nil
}

func parseSubnet6(text string) (netip.Prefix, error) {
	subnet, err := netip.ParsePrefix(text)
	if err != nil {
		return subnet, apierr.BadParameter("invalid subnet %q: write it as ADDRESS/LENGTH, for example fd00:172:20::/64", text)
	}
	if subnet != subnet.Masked() {
		return subnet, apierr.BadParameter("invalid subnet %q: it is an address inside %s: use that", text, subnet.Masked())
	}
	switch bits := subnet.Bits(); {
	case bits > longestPrefix6:
		return subnet, apierr.BadParameter("invalid subnet %q: its first address and the gateway leave none for a container: use /%d or a larger one", text, longestPrefix6)
	case bits < shortestPrefix6:
		return subnet, apierr.BadParameter("invalid subnet %q: use /%d or a smaller one", text, shortestPrefix6)
	}
	for _, p := range endpointPrefixes {
		if p.Contains(subnet.Addr()) {
			return subnet, nil
		}
	}
	return subnet, apierr.BadParameter("invalid subnet %q: it is neither global unicast nor unique local: use one of your own, for example fd00:172:20::/64", text)
}

// parseGateway6 reads the gateway's address; "" is the subnet's ::1.
func parseGateway6(text string, subnet netip.Prefix) (netip.Addr, error) {
	if text == "" {
		return subnet.Addr().Next(), nil
	}
	gateway, err := netip.ParseAddr(text)
	switch {
	case err != nil || gateway.Zone() != "":
		return gateway, apierr.BadParameter("invalid gateway %q: it is not an IP address", text)
	case !subnet.Contains(gateway):
		return gateway, apierr.BadParameter("invalid gateway %s: it is outside the subnet %s", gateway, subnet)
	case gateway == subnet.Addr():
		return gateway, apierr.BadParameter("invalid gateway %s: it is the anycast address of the routers of %s", gateway, subnet)
	}
	return gateway, nil
}
