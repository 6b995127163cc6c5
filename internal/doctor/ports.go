package doctor

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/portreserve"
)

const (
	// enoughPorts is how many source ports a busy destination may need.
	enoughPorts = 4096
	// lowestPort is where masquerade begins: SNAT_LOWEST of bpf/ports.h.
	lowestPort = 1024
)

// Ports are those of the host, by who may take them.
type Ports struct {
	// Local is ip_local_port_range now, and Loaded what the programs keep out of:
	// what it was when the daemon started, less what it reserved.
	LocalFirst, LocalLast   uint16
	LoadedFirst, LoadedLast uint16
	// Reserved are those of ip_local_reserved_ports, and Ours the daemon's part.
	Reserved   portreserve.Ports
	OursNumber int
	// Published are those of each protocol that rules lead from.
	Published map[string]portreserve.Ports
	// Unreachable are those of them, likewise, that are published on addresses
	// which the host does not have.
	Unreachable map[netip.Addr]map[string]portreserve.Ports
}

// Masquerade says whether there are ports enough, which nobody else may take.
func Masquerade(p Ports) []api.Finding {
	f := of("masquerade-ports")
	if p.LoadedFirst != p.LocalFirst || int(p.LoadedLast)+p.OursNumber != int(p.LocalLast) {
		f.problem("restart the daemon: connections go on meanwhile",
			"net.ipv4.ip_local_port_range is %d-%d now, and the programs keep out of %d-%d", p.LocalFirst, p.LocalLast, p.LoadedFirst, p.LoadedLast)
	}
	free := portreserve.Range(lowestPort, 65535).Without(portreserve.Range(p.LoadedFirst, p.LoadedLast))
	fewest := free.Count()
	for _, protocol := range []string{"tcp", "udp"} {
		left := free.Without(p.Published[protocol]).Count()
		fewest = min(fewest, left)
		if left < enoughPorts {
			f.problem(fmt.Sprintf("start the daemon with --reserve-ports=%d, or narrow net.ipv4.ip_local_port_range", p.OursNumber+2*enoughPorts),
				"%d %s source ports are left outside net.ipv4.ip_local_port_range and the published ports: so many flows to one destination at most", left, protocol)
		}
	}
	return f.orOK("%d source ports are left outside net.ipv4.ip_local_port_range and the published ports", fewest)
}

// Published says which published ports nobody reaches, and which the kernel may
// also give to sockets of the host.
func Published(p Ports) []api.Finding {
	f := of("published-ports")
	for _, addr := range slices.SortedFunc(maps.Keys(p.Unreachable), netip.Addr.Compare) {
		for _, protocol := range []string{"tcp", "udp"} {
			if lost := p.Unreachable[addr][protocol]; lost.Count() > 0 {
				f.problem("give the host the address back, or withdraw the ports by `sluice unpublish` and publish them on another",
					"the host has the address %s no more, and nobody reaches the %s ports that are published on it: %s", addr, protocol, lost)
			}
		}
	}
	unsafe := portreserve.Range(p.LocalFirst, p.LocalLast).Without(p.Reserved)
	for _, protocol := range []string{"tcp", "udp"} {
		published := p.Published[protocol]
		if shared := published.Without(published.Without(unsafe)); shared.Count() > 0 {
			f.note(fmt.Sprintf("add them to net.ipv4.ip_local_reserved_ports, or publish ports below %d", p.LocalFirst),
				"the kernel may give published %s ports to a socket of the host, which then loses its answers to the container: %s", protocol, shared)
		}
	}
	return f.orOK("the host has their addresses, and the kernel gives none of them to sockets of the host")
}
