package netdev

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoIPv6 is returned by RequireIPv6 for a kernel that has none.
var ErrNoIPv6 = errors.New("this kernel runs without IPv6: boot it without ipv6.disable=1, or leave --ipv6 out")

// ErrIPv6Off is returned by RequireIPv6 for a host that has IPv6 switched off.
var ErrIPv6Off = errors.New("the host has IPv6 switched off: set net.ipv6.conf.all.disable_ipv6 to 0, or leave --ipv6 out")

// RequireIPv6 returns why the calling thread's network namespace can have no
// IPv6 network, nil when it can.
func RequireIPv6() error {
	value, err := readSysctl("all", noIPv6)
	if err == nil && value == noIPv6.value {
		return ErrIPv6Off
	}
	return err
}

// Settings of devices with IPv6. The link-local address is made of the MAC
// address, as the datapath expects it, and no address waits for duplicate
// address detection: nobody but us gives out any on a bridge of ours. Nobody is
// believed who says that he is a router.
var (
	noForwarding6 = sysctl{"ipv6", "forwarding", "0"}
	forwarding6   = sysctl{"ipv6", "forwarding", "1"}
	withIPv6      = []sysctl{
		{"ipv6", "accept_ra", "0"},
		{"ipv6", "accept_redirects", "0"},
		{"ipv6", "accept_dad", "0"},
		{"ipv6", "addr_gen_mode", "0"},
		{"ipv6", "disable_ipv6", "0"},
	}
)

// ipv6Settings are those of a device that has IPv6 or has not.
func ipv6Settings(enabled bool) []sysctl {
	if enabled {
		return withIPv6
	}
	return []sysctl{noIPv6}
}

// newAddr is an address as netlink takes it; of IPv6 one that can be used at once.
func newAddr(p netip.Prefix) *netlink.Addr {
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	return addr
}

// setAddresses gives a device addresses; those that are not valid are left out.
func setAddresses(handle *netlink.Handle, link netlink.Link, addrs ...netip.Prefix) error {
	for _, p := range addrs {
		if !p.IsValid() {
			continue
		}
		if err := handle.AddrReplace(link, newAddr(p)); err != nil {
			return fmt.Errorf("give %s the address %s: %w", link.Attrs().Name, p, err)
		}
	}
	return nil
}

// hasAddresses reports whether a device has all of the valid ones.
func hasAddresses(handle *netlink.Handle, link netlink.Link, wanted ...netip.Prefix) (bool, error) {
	addrs, err := handle.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return false, fmt.Errorf("list the addresses of %s: %w", link.Attrs().Name, err)
	}
	for _, p := range wanted {
		if p.IsValid() && !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IPNet.String() == p.String() }) {
			return false, nil
		}
	}
	return true, nil
}
