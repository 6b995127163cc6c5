package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Veth is a pair of devices between a bridge and a sandbox.
type Veth struct {
	Name    string // of the outer end
	Bridge  string
	Sandbox string // path of the network namespace of the inner end
	Device  string // name of the inner end
	MAC     net.HardwareAddr
	// Address and Address6 are of the inner end, with the subnet's prefix length;
	// Address6 is zero without IPv6.
	Address, Address6 netip.Prefix
	// Gateway and Gateway6 are zero for no default route.
	Gateway, Gateway6 netip.Addr
}

// vethSettings are the sysctls of every veth's outer end.
var vethSettings = []sysctl{noForwarding, noForwarding6, noIPv6}

// EnsureVeth makes the pair, or repairs the one that has its name, and returns
// the ifindex of the outer end. The bridge knows by a static entry where the
// MAC address is, and learns nothing from the port; its neighbour entries for
// the addresses are permanent.
func (h *Host) EnsureVeth(v Veth) (ifindex int, err error) {
	ns, err := openNamespace(v.Sandbox)
	if err != nil {
		return 0, err
	}
	defer ns.Close()
	bridge, err := h.netlink.LinkByName(v.Bridge)
	if err != nil {
		return 0, fmt.Errorf("look for the bridge %s: %w", v.Bridge, err)
	}
	outer, err := h.ensurePair(v, ns)
	if err != nil {
		return 0, err
	}
	// Before it is a port, so that the bridge never learns from it.
	if err := setSysctls(v.Name, vethSettings...); err != nil {
		return 0, err
	}
	if err := h.ensurePort(v, outer, bridge); err != nil {
		return 0, err
	}
	if err := inNamespace(ns, func() error { return configureInner(v) }); err != nil {
		return 0, fmt.Errorf("set up %s inside %s: %w", v.Device, v.Sandbox, err)
	}
	return outer.Attrs().Index, nil
}

// RepairVeth restores the sysctls of a veth's outer end, which a write to the
// global switches resets.
func (h *Host) RepairVeth(name string) error { return setSysctls(name, vethSettings...) }

// VethIntact reports whether the veth's outer end is a port of the bridge and up.
func (h *Host) VethIntact(name, bridge string) (bool, error) {
	outer, err := h.find(name)
	if err != nil || outer == nil || outer.Attrs().RawFlags&unix.IFF_UP == 0 {
		return false, err
	}
	master, err := h.find(bridge)
	if err != nil || master == nil {
		return false, err
	}
	return outer.Attrs().MasterIndex == master.Attrs().Index, nil
}

// ensurePair makes both ends in one request, the inner one in place, and
// returns the outer one.
func (h *Host) ensurePair(v Veth, ns *os.File) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = v.Name
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerHardwareAddr = v.Device, v.MAC
	pair.PeerNamespace = netlink.NsFd(int(ns.Fd()))
	err := h.netlink.LinkAdd(pair)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make the veth %s: %w", v.Name, err)
	}
	outer, err := h.netlink.LinkByName(v.Name)
	if err != nil {
		return nil, fmt.Errorf("look for the veth %s: %w", v.Name, err)
	}
	if outer.Type() != "veth" {
		return nil, fmt.Errorf("%s is a %s: %w", v.Name, outer.Type(), ErrWrongKind)
	}
	return outer, h.setMark(outer)
}

// ensurePort makes the outer end a port of the bridge.
func (h *Host) ensurePort(v Veth, outer, bridge netlink.Link) error {
	if outer.Attrs().MasterIndex != bridge.Attrs().Index {
		if err := h.netlink.LinkSetMaster(outer, bridge); err != nil {
			return fmt.Errorf("make %s a port of %s: %w", v.Name, v.Bridge, err)
		}
	}
	if err := h.netlink.LinkSetLearning(outer, false); err != nil {
		return fmt.Errorf("switch learning off on %s: %w", v.Name, err)
	}
	if err := h.netlink.LinkSetUp(outer); err != nil {
		return fmt.Errorf("set %s up: %w", v.Name, err)
	}
	// Static, not permanent: a permanent entry of a bridge is the bridge's
	// own address, whose frames go to the stack.
	err := h.netlink.NeighSet(&netlink.Neigh{
		LinkIndex:    outer.Attrs().Index,
		Family:       unix.AF_BRIDGE,
		Flags:        netlink.NTF_MASTER,
		State:        netlink.NUD_NOARP | netlink.NUD_REACHABLE,
		HardwareAddr: v.MAC,
	})
	if err != nil {
		return fmt.Errorf("tell %s where %s is: %w", v.Bridge, v.MAC, err)
	}
	if err := h.setNeighbour(bridge, v.Address.Addr(), v.MAC); err != nil || !v.Address6.IsValid() {
		return err
	}
	return h.setNeighbour(bridge, v.Address6.Addr(), v.MAC)
}

// configureInner gives the inner end its addresses and routes. It runs in the
// sandbox's namespace.
func configureInner(v Veth) error {
	if err := setSysctls(v.Device, ipv6Settings(v.Address6.IsValid())...); err != nil {
		return err
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer handle.Close()
	inner, err := handle.LinkByName(v.Device)
	if err != nil {
		return err
	}
	if err := setAddresses(handle, inner, v.Address, v.Address6); err != nil {
		return err
	}
	if err := handle.LinkSetUp(inner); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	for _, gateway := range []netip.Addr{v.Gateway, v.Gateway6} {
		if !gateway.IsValid() {
			continue
		}
		err = handle.RouteReplace(&netlink.Route{LinkIndex: inner.Attrs().Index, Gw: gateway.AsSlice()})
		if err != nil {
			return fmt.Errorf("default route by %s: %w", gateway, err)
		}
	}
	return nil
}
