package hostnet

import (
	"cmp"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Uplink is a device that leads outside.
type Uplink struct {
	Name    string
	Ifindex int
	// Source4 and Source6 are what masqueraded packets get: the first global IPv4
	// address, and a global IPv6 address that stays (see address.stable); zero
	// without one.
	Source4, Source6 netip.Addr
	// Ethernet is whether its packets have Ethernet headers.
	Ethernet bool
}

// State is what the datapath must know of the host.
type State struct {
	Uplinks []Uplink     // in the order of their ifindexes
	Addrs   []netip.Addr // of both families, but for the loopback's; sorted
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
// ours nor a part of another one. Either way it has an Ethernet link layer or,
// as tun and wireguard, none at all.
func (s selector) selects(d device) bool {
	if !d.known || s.own(d.name) {
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
	master   int  // ifindex, 0 without one
	known    bool // its link layer is one that the programs know
	ethernet bool
}

// address is an address of a device.
type address struct {
	addr    netip.Addr
	ifindex int
	global  bool
	flags   uint32 // IFA_F_…
}

// usable reports whether the kernel takes packets for the address: not before
// duplicate address detection has found nobody else who has it.
func (a address) usable() bool {
	return a.flags&unix.IFA_F_DADFAILED == 0 && (a.flags&unix.IFA_F_TENTATIVE == 0 || a.flags&unix.IFA_F_OPTIMISTIC != 0)
}

// stable reports whether flows may be given the IPv6 address as their source:
// it leads back from everywhere and is not about to go, as the temporary ones of
// RFC 8981 are.
func (a address) stable() bool {
	return a.global && a.usable() && a.flags&(unix.IFA_F_TEMPORARY|unix.IFA_F_DEPRECATED) == 0
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
			state.Uplinks = append(state.Uplinks, Uplink{Name: d.name, Ifindex: ifindex, Source4: t.source4(ifindex), Source6: t.source6(ifindex), Ethernet: d.ethernet})
		}
	}
	slices.SortFunc(state.Uplinks, func(a, b Uplink) int { return cmp.Compare(a.Ifindex, b.Ifindex) })
	for _, a := range t.addresses {
		if !a.addr.IsLoopback() && a.usable() {
			state.Addrs = append(state.Addrs, a.addr)
		}
	}
	slices.SortFunc(state.Addrs, netip.Addr.Compare)
	state.Addrs = slices.Compact(state.Addrs)
	return state
}

func (t *table) source4(ifindex int) netip.Addr {
	for _, a := range t.addresses {
		if a.ifindex == ifindex && a.addr.Is4() && a.global {
			return a.addr
		}
	}
	return netip.Addr{}
}

// source6 prefers addresses that the whole world can answer to unique local
// ones, and then the lowest: the kernel lists them in an order that changes.
func (t *table) source6(ifindex int) (best netip.Addr) {
	for _, a := range t.addresses {
		if a.ifindex != ifindex || !a.addr.Is6() || !a.stable() {
			continue
		}
		local, bestLocal := a.addr.IsPrivate(), best.IsPrivate()
		if !best.IsValid() || bestLocal && !local || bestLocal == local && a.addr.Less(best) {
			best = a.addr
		}
	}
	return best
}
