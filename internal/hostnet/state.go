package hostnet

import (
	"cmp"
	"net/netip"
	"slices"
)

// Uplink is a device that leads outside.
type Uplink struct {
	Name    string
	Ifindex int
	Source4 netip.Addr // its first global IPv4 address; zero without one
}

// State is what the datapath must know of the host.
type State struct {
	Uplinks []Uplink     // in the order of their ifindexes
	Addrs   []netip.Addr // the IPv4 addresses outside 127.0.0.0/8, sorted
}

// Equal reports whether two states are the same.
func (s State) Equal(other State) bool {
	return slices.Equal(s.Uplinks, other.Uplinks) && slices.Equal(s.Addrs, other.Addrs)
}

// selector decides which devices are uplinks.
type selector struct {
	own  func(device string) bool
	only []string
}

// selects: the devices that were named, or else every device that is neither
// ours nor a part of another one. Either way it has an Ethernet link layer:
// tunnels without one (tun, wireguard) are left out for now.
func (s selector) selects(d device) bool {
	if !d.ethernet || s.own(d.name) {
		return false
	}
	if len(s.only) > 0 {
		return slices.Contains(s.only, d.name)
	}
	return d.master == 0
}

// device is a link of the host's namespace.
type device struct {
	name     string
	master   int // ifindex, 0 without one
	ethernet bool
}

// address is an IPv4 address of a device.
type address struct {
	addr    netip.Addr
	ifindex int
	global  bool
}

// table is the namespace's devices and addresses.
type table struct {
	devices   map[int]device // by ifindex
	addresses []address      // in the order of their appearance
}

func newTable() *table { return &table{devices: map[int]device{}} }

func (t *table) addAddress(a address) {
	for i, old := range t.addresses {
		if old.addr == a.addr && old.ifindex == a.ifindex {
			t.addresses[i] = a
			return
		}
	}
	t.addresses = append(t.addresses, a)
}

func (t *table) removeAddress(a address) {
	t.addresses = slices.DeleteFunc(t.addresses, func(old address) bool {
		return old.addr == a.addr && old.ifindex == a.ifindex
	})
}

func (t *table) removeDevice(ifindex int) {
	delete(t.devices, ifindex)
	t.addresses = slices.DeleteFunc(t.addresses, func(a address) bool { return a.ifindex == ifindex })
}

// state is what the table amounts to.
func (t *table) state(s selector) State {
	var state State
	for ifindex, d := range t.devices {
		if s.selects(d) {
			state.Uplinks = append(state.Uplinks, Uplink{Name: d.name, Ifindex: ifindex, Source4: t.source(ifindex)})
		}
	}
	slices.SortFunc(state.Uplinks, func(a, b Uplink) int { return cmp.Compare(a.Ifindex, b.Ifindex) })
	for _, a := range t.addresses {
		if !a.addr.IsLoopback() {
			state.Addrs = append(state.Addrs, a.addr)
		}
	}
	slices.SortFunc(state.Addrs, netip.Addr.Compare)
	state.Addrs = slices.Compact(state.Addrs)
	return state
}

func (t *table) source(ifindex int) netip.Addr {
	for _, a := range t.addresses {
		if a.ifindex == ifindex && a.global {
			return a.addr
		}
	}
	return netip.Addr{}
}
