package conntrack

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/maps"
)

// Filter picks flows. What is zero picks all.
type Filter struct {
	// Source and Destination are of the forward direction, before translation
	// or after it.
	Source, Destination netip.Prefix
	Port                uint16 // any of the flow's four
	Protocol            uint8
	State               string
	Family              int // 4 or 6
}

// protocols are those that have flows, by the names that users know.
var protocols = map[string]uint8{
	"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "icmp": unix.IPPROTO_ICMP, "icmp6": unix.IPPROTO_ICMPV6,
}

// ProtocolName is what users call a protocol.
func ProtocolName(protocol uint8) string {
	for name, number := range protocols {
		if number == protocol {
			return name
		}
	}
	return strconv.Itoa(int(protocol))
}

// Parse reads a filter. The container, which is not of the flow, is left out.
func Parse(f api.FlowFilter) (filter Filter, err error) {
	if filter.Source, err = parseAddresses("src", f.Source); err != nil {
		return filter, err
	}
	if filter.Destination, err = parseAddresses("dst", f.Destination); err != nil {
		return filter, err
	}
	if f.Port != "" {
		port, err := strconv.ParseUint(f.Port, 10, 16)
		if err != nil || port == 0 {
			return filter, apierr.BadParameter("invalid port %q: use a number from 1 to 65535", f.Port)
		}
		filter.Port = uint16(port)
	}
	if f.Protocol != "" {
		protocol, known := protocols[strings.ToLower(f.Protocol)]
		if !known {
			return filter, apierr.BadParameter("invalid protocol %q: use tcp, udp, icmp or icmp6", f.Protocol)
		}
		filter.Protocol = protocol
	}
	if filter.State = strings.ToUpper(f.State); f.State != "" && !slices.Contains(states, filter.State) {
		return filter, apierr.BadParameter("invalid state %q: use one of %s", f.State, strings.Join(states, ", "))
	}
	switch f.Family {
	case "":
	case "ipv4":
		filter.Family = 4
	case "ipv6":
		filter.Family = 6
	default:
		return filter, apierr.BadParameter("invalid family %q: use ipv4 or ipv6", f.Family)
	}
	return filter, nil
}

// parseAddresses reads an address, or a prefix of addresses.
func parseAddresses(what, text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, apierr.BadParameter("invalid %s %q: use an address, or ADDRESS/LENGTH", what, text)
	}
	return prefix.Masked(), nil
}

// Matches reports whether the filter picks the flow.
func (f Filter) Matches(flow maps.Flow) bool {
	return within(f.Source, flow.Source, flow.TranslatedSource) &&
		within(f.Destination, flow.Destination, flow.TranslatedDestination) &&
		(f.Port == 0 || slices.Contains(ports(flow), f.Port)) &&
		(f.Protocol == 0 || f.Protocol == flow.Protocol) &&
		(f.State == "" || f.State == State(flow)) &&
		(f.Family == 0 || (f.Family == 4) == flow.Source.Addr().Is4())
}

func within(prefix netip.Prefix, addrs ...netip.AddrPort) bool {
	return !prefix.IsValid() || slices.ContainsFunc(addrs, func(a netip.AddrPort) bool { return prefix.Contains(a.Addr()) })
}

// ports are those of a flow. An echo has none: what stands there is its
// identifier.
func ports(f maps.Flow) []uint16 {
	if f.Protocol == unix.IPPROTO_ICMP || f.Protocol == unix.IPPROTO_ICMPV6 {
		return nil
	}
	return []uint16{f.Source.Port(), f.Destination.Port(), f.TranslatedSource.Port(), f.TranslatedDestination.Port()}
}
