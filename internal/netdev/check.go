package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// The checks below say, a phrase each, what is not as the Ensure of the same
// name makes it. They change nothing.

// CheckLendingDevice looks at LendingDevice.
func (h *Host) CheckLendingDevice() ([]string, error) {
	link, err := h.find(LendingDevice)
	if err != nil || link == nil {
		return gone(LendingDevice, err)
	}
	return differing(LendingDevice, forwarding, forwarding6, noIPv6)
}

// CheckBridge looks at a network's bridge.
func (h *Host) CheckBridge(b Bridge) ([]string, error) {
	link, err := h.find(b.Name)
	if err != nil || link == nil {
		return gone(b.Name, err)
	}
	phrases, err := differing(b.Name, b.settings()...)
	if err != nil {
		return nil, err
	}
	if link.Attrs().RawFlags&unix.IFF_UP == 0 {
		phrases = append(phrases, b.Name+" is down")
	}
	for _, p := range []netip.Prefix{b.Address, b.Address6} {
		has, err := hasAddresses(h.netlink, link, p)
		if err != nil {
			return nil, err
		}
		if !has {
			phrases = append(phrases, fmt.Sprintf("%s has lost the address %s", b.Name, p))
		}
	}
	return phrases, nil
}

// CheckVeth looks at the outer end of a veth.
func (h *Host) CheckVeth(name, bridge string) ([]string, error) {
	outer, err := h.find(name)
	if err != nil || outer == nil {
		return gone(name, err)
	}
	phrases, err := differing(name, vethSettings...)
	if err != nil {
		return nil, err
	}
	if outer.Attrs().RawFlags&unix.IFF_UP == 0 {
		phrases = append(phrases, name+" is down")
	}
	master, err := h.find(bridge)
	if err != nil {
		return nil, err
	}
	if master == nil || outer.Attrs().MasterIndex != master.Attrs().Index {
		phrases = append(phrases, fmt.Sprintf("%s is no port of %s", name, bridge))
	}
	return phrases, nil
}

// CheckNeighbours returns those of the addresses that the bridge has no
// permanent neighbour entry for, or one with another MAC address.
func (h *Host) CheckNeighbours(bridge string, want map[netip.Addr]net.HardwareAddr) (missing []netip.Addr, err error) {
	has, err := h.permanentNeighbours(bridge)
	if err != nil || has == nil {
		return nil, err // CheckBridge says so
	}
	for addr, mac := range want {
		if has[addr] != mac.String() {
			missing = append(missing, addr)
		}
	}
	slices.SortFunc(missing, netip.Addr.Compare)
	return missing, nil
}

func gone(device string, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return []string{device + " is gone"}, nil
}

// differing names the settings of a device that have another value.
func differing(device string, settings ...sysctl) (phrases []string, err error) {
	for _, s := range settings {
		value, err := readSysctl(device, s)
		if errors.Is(err, ErrNoIPv6) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if value != s.value {
			phrases = append(phrases, fmt.Sprintf("net.%s.conf.%s.%s is %s, and not %s", s.family, device, s.name, value, s.value))
		}
	}
	return phrases, nil
}
