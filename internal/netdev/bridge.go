package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrWrongKind is returned when a device of another kind has the name.
var ErrWrongKind = errors.New("a device of another kind has this name")

// Bridge is a network's bridge.
type Bridge struct {
	Name string
	// Address and Address6 are the gateway's, with the subnet's prefix length;
	// Address6 is zero without IPv6.
	Address, Address6 netip.Prefix
}

// settings are the sysctls of a network's bridge. What the stack forwards is not
// its forwarding switch of IPv6 alone; but one that is 1 would make it a router.
func (b Bridge) settings() []sysctl {
	return append([]sysctl{noForwarding, routeLocalnet, noForwarding6}, ipv6Settings(b.Address6.IsValid())...)
}

// EnsureBridge makes the bridge, or repairs the one that has its name, and
// returns its ifindex. Its MAC address is MACFor(address).
func (h *Host) EnsureBridge(b Bridge) (ifindex int, err error) {
	link, err := h.ensureBridgeDevice(b.Name, MACFor(b.Address.Addr()), 0)
	if err != nil {
		return 0, err
	}
	if err := setSysctls(b.Name, b.settings()...); err != nil {
		return 0, err
	}
	if err := setAddresses(h.netlink, link, b.Address, b.Address6); err != nil {
		return 0, err
	}
	if err := h.netlink.LinkSetUp(link); err != nil {
		return 0, fmt.Errorf("set %s up: %w", b.Name, err)
	}
	return link.Attrs().Index, nil
}

// RepairBridge restores the sysctls of a network's bridge, which a write to
// the global switches resets.
func (h *Host) RepairBridge(b Bridge) error { return setSysctls(b.Name, b.settings()...) }

// DeleteAddresses takes a bridge's addresses, and their routes with them. What
// is not there is no error.
func (h *Host) DeleteAddresses(b Bridge) error {
	link, err := h.find(b.Name)
	if err != nil || link == nil {
		return err
	}
	var errs []error
	for _, p := range []netip.Prefix{b.Address, b.Address6} {
		if !p.IsValid() {
			continue
		}
		err := h.netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(p)})
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("take the address %s from %s: %w", p, b.Name, err))
		}
	}
	return errors.Join(errs...)
}

// BridgeIntact reports whether the bridge is there and up and has its addresses.
func (h *Host) BridgeIntact(b Bridge) (bool, error) {
	link, err := h.find(b.Name)
	if err != nil || link == nil || link.Attrs().RawFlags&unix.IFF_UP == 0 {
		return false, err
	}
	return hasAddresses(h.netlink, link, b.Address, b.Address6)
}

// ensureBridgeDevice returns the bridge name, made with the MAC address if
// need be. A nil MAC address and an ifindex of 0 leave the choice to the kernel.
func (h *Host) ensureBridgeDevice(name string, mac net.HardwareAddr, ifindex int) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.Index = name, mac, ifindex
	err := h.netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make the bridge %s: %w", name, err)
	}
	link, err := h.netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("look for the bridge %s: %w", name, err)
	}
	if link.Type() != "bridge" {
		return nil, fmt.Errorf("%s is a %s: %w", name, link.Type(), ErrWrongKind)
	}
	if err := h.setMark(link); err != nil {
		return nil, err
	}
	if mac != nil && link.Attrs().HardwareAddr.String() != mac.String() {
		if err := h.netlink.LinkSetHardwareAddr(link, mac); err != nil {
			return nil, fmt.Errorf("give %s the address %s: %w", name, mac, err)
		}
	}
	return link, nil
}

// MACFor derives the MAC address of an interface from its IPv4 address: 02:42
// and the address, as Docker does.
func MACFor(addr netip.Addr) net.HardwareAddr {
	b := addr.As4()
	return net.HardwareAddr{0x02, 0x42, b[0], b[1], b[2], b[3]}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
