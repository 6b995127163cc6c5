package maps

import (
	"github.com/sluice-net/sluice/internal/datapath"
)

// SetHostAddrs replaces the set of the host's own addresses.
func (m *Maps) SetHostAddrs(addrs []HostAddr) error {
	want4, want6 := map[uint32]datapath.HostAddr{}, map[datapath.Addr6]datapath.HostAddr{}
	for _, a := range addrs {
		value := datapath.HostAddr{Network: a.Network}
		if a.Addr.Is4() {
			want4[raw4(a.Addr)] = value
		} else {
			want6[raw6(a.Addr)] = value
		}
	}
	if err := replace(m, "host_addrs4", want4); err != nil {
		return err
	}
	return replace(m, "host_addrs6", want6)
}

// SetUplinks replaces the set of devices that lead outside, by ifindex.
func (m *Maps) SetUplinks(uplinks map[uint32]Uplink) error {
	want := map[uint32]datapath.Uplink{}
	for ifindex, u := range uplinks {
		value := datapath.Uplink{Addr4: raw4(u.IPv4), Addr6: raw6(u.IPv6)}
		if u.Ethernet {
			value.Flags |= datapath.UplinkEthernet
		}
		want[ifindex] = value
	}
	return replace(m, "uplinks", want)
}
