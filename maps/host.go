package maps

import (
	"net/netip"

	"github.com/sluice-net/sluice/internal/datapath"
)

// SetHostAddrs replaces the set of the host's own addresses.
func (m *Maps) SetHostAddrs(addrs []HostAddr) error {
	want := map[uint32]datapath.HostAddr{}
	for _, a := range addrs {
		if a.Addr.Is4() {
			want[raw4(a.Addr)] = datapath.HostAddr{Network: a.Network}
		}
	}
	return replace(m, "host_addrs4", want)
}

// SetUplinks replaces the set of devices that lead outside: ifindex to the
// source of masqueraded packets whose route prefers no other.
func (m *Maps) SetUplinks(uplinks map[uint32]netip.Addr) error {
	want := map[uint32]datapath.Uplink{}
	for ifindex, source := range uplinks {
		want[ifindex] = datapath.Uplink{Addr4: raw4(source)}
	}
	return replace(m, "uplinks", want)
}
