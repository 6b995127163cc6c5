package engine

import (
	"errors"
	"net/netip"

	"github.com/sluice-net/sluice/internal/hostnet"
)

// disconnect ends connections of the host's processes to the addresses of an
// endpoint or an alias. Those that the socket hook made are not translated, so
// that no generation ends them, and whoever keeps one would speak into the void.
// A failure is reported: what was to be removed is removed all the same.
func (e *Engine) disconnect(addrs []netip.Addr, ends func(hostnet.Connection) bool) {
	for _, addr := range addrs {
		switch err := e.host.Disconnect(addr, ends); {
		case errors.Is(err, hostnet.ErrNoDisconnect):
			e.log.Debug("connections of the host's processes end by themselves", "address", addr, "reason", err)
		case err != nil:
			e.log.Warn("connections of the host's processes go on", "address", addr, "error", err)
		}
	}
}

func everyConnection(hostnet.Connection) bool { return true }

// cameBy reports for the host's connections to an endpoint whether their
// processes had asked for one of the ports.
func (e *Engine) cameBy(ports []PublishedPort) func(hostnet.Connection) bool {
	return func(c hostnet.Connection) bool {
		asked, ok := e.datapath.Asked(c.Protocol, c.Cookie, c.Remote)
		if !ok {
			return false
		}
		for _, p := range ports {
			if p.takes(c, asked) {
				return true
			}
		}
		return false
	}
}

// takes reports whether a connection whose process had asked for an address is one
// to the published port. ::1 leads where 127.0.0.1 does if it leads to IPv4.
func (p PublishedPort) takes(c hostnet.Connection, asked netip.AddrPort) bool {
	host := asked.Addr()
	if host == netip.IPv6Loopback() && p.HostAddr.Is4() {
		host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return p.Protocol == c.Protocol && p.HostAddr.Is4() == c.Remote.Addr().Is4() &&
		p.First <= asked.Port() && asked.Port() <= p.Last &&
		(p.HostAddr.IsUnspecified() || p.HostAddr == host)
}
