package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrWrongKind is returned when a device of another kind has the name.
var ErrWrongKind = errors.New("a device of another kind has this name")

// LendingDevice is the private bridge without ports whose ifindex the datapath
// lends to route lookups: those refuse a device that does not forward.
const LendingDevice = "sluice-fib"

// Bridge is a network's bridge.
type Bridge struct {
	Name    string
	Address netip.Prefix // the gateway's, with the subnet's prefix length
}

// bridgeSettings are the sysctls of every network's bridge.
var bridgeSettings = []sysctl{noForwarding, routeLocalnet, noIPv6}

// EnsureBridge makes the bridge, or repairs the one that has its name, and
// returns its ifindex. Its MAC address is MACFor(address).
func (h *Host) EnsureBridge(b Bridge) (ifindex int, err error) {
	link, err := h.ensureBridgeDevice(b.Name, MACFor(b.Address.Addr()), 0)
	if err != nil {
		return 0, err
	}
	if err := setSysctls(b.Name, bridgeSettings...); err != nil {
		return 0, err
	}
	if err := h.netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(b.Address)}); err != nil {
		return 0, fmt.Errorf("give %s the address %s: %w", b.Name, b.Address, err)
	}
	if err := h.netlink.LinkSetUp(link); err != nil {
		return 0, fmt.Errorf("set %s up: %w", b.Name, err)
	}
	return link.Attrs().Index, nil
}

// RepairBridge restores the sysctls of a network's bridge, which a write to
// the global switches resets.
func (h *Host) RepairBridge(name string) error { return setSysctls(name, bridgeSettings...) }

// BridgeIntact reports whether the bridge is there and up and has its address.
func (h *Host) BridgeIntact(b Bridge) (bool, error) {
	link, err := h.find(b.Name)
	if err != nil || link == nil || link.Attrs().RawFlags&unix.IFF_UP == 0 {
		return false, err
	}
	addrs, err := h.netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return false, fmt.Errorf("list the addresses of %s: %w", b.Name, err)
	}
	return slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IPNet.String() == b.Address.String() }), nil
}

// EnsureLendingDevice makes or repairs LendingDevice and returns its ifindex.
// It has no address and no port: it never sees a packet. A device that was
// deleted since the first call comes back with its ifindex, which is a constant
// of programs that run.
func (h *Host) EnsureLendingDevice() (ifindex int, err error) {
	link, err := h.ensureBridgeDevice(LendingDevice, nil, int(h.lending.Load()))
	if err != nil {
		return 0, err
	}
	h.lending.CompareAndSwap(0, int64(link.Attrs().Index))
	if err := setSysctls(LendingDevice, forwarding, noIPv6); err != nil {
		return 0, err
	}
	if err := h.netlink.LinkSetUp(link); err != nil {
		return 0, fmt.Errorf("set %s up: %w", LendingDevice, err)
	}
	return link.Attrs().Index, nil
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
