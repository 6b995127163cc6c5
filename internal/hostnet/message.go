package hostnet

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// apply brings the table up to date with one notification. A message that
// cannot be read is an error.
func (t *table) apply(m syscall.NetlinkMessage) error {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return t.applyLink(m)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return t.applyAddress(m)
	}
	return nil
}

func (t *table) applyLink(m syscall.NetlinkMessage) error {
	info := nl.DeserializeIfInfomsg(m.Data)
	if info.Family == unix.AF_BRIDGE {
		return nil // of a bridge's port, not of the device
	}
	if m.Header.Type == unix.RTM_DELLINK {
		t.removeDevice(int(info.Index))
		return nil
	}
	link, err := netlink.LinkDeserialize((*unix.NlMsghdr)(&m.Header), m.Data)
	if err != nil {
		return err
	}
	t.addDevice(link)
	return nil
}

// bare are the link layers whose packets begin with the IP header: ARPHRD_NONE of
// tun and wireguard, and what PPP, IP in IP and GRE have.
var bare = []string{"none", "ppp", "ipip", "tunnel6", "sit", "gre", "gre6"}

func (t *table) addDevice(link netlink.Link) {
	attrs := link.Attrs()
	ethernet := attrs.EncapType == "ether"
	t.devices[attrs.Index] = device{
		name:     attrs.Name,
		master:   attrs.MasterIndex,
		known:    ethernet || slices.Contains(bare, attrs.EncapType),
		ethernet: ethernet,
	}
}

func (t *table) applyAddress(m syscall.NetlinkMessage) error {
	a, err := parseAddress(m.Data)
	if err != nil || !a.addr.IsValid() {
		return err
	}
	if m.Header.Type == unix.RTM_DELADDR {
		t.removeAddress(a)
	} else {
		t.addAddress(a)
	}
	return nil
}

// parseAddress reads an ifaddrmsg. The address is zero for other families than
// IPv4 and IPv6.
func parseAddress(data []byte) (a address, err error) {
	info := nl.DeserializeIfAddrmsg(data)
	if info.Family != unix.AF_INET && info.Family != unix.AF_INET6 {
		return a, nil
	}
	attrs, err := nl.ParseRouteAttr(data[info.Len():])
	if err != nil {
		return a, err
	}
	a = address{ifindex: int(info.Index), global: info.Scope == unix.RT_SCOPE_UNIVERSE, flags: uint32(info.Flags)}
	for _, attr := range attrs {
		switch attr.Attr.Type {
		case unix.IFA_LOCAL:
			a.addr, _ = netip.AddrFromSlice(attr.Value)
		case unix.IFA_ADDRESS: // the other end's where there is one, and then IFA_LOCAL is there too
			if !a.addr.IsValid() {
				a.addr, _ = netip.AddrFromSlice(attr.Value)
			}
		case unix.IFA_FLAGS: // the 8 of the header and more
			if len(attr.Value) == 4 {
				a.flags = binary.NativeEndian.Uint32(attr.Value)
			}
		}
	}
	return a, nil
}

// Of linux/netconf.h.
const (
	netconfIfindex    = 1
	netconfForwarding = 2
	netconfAllDevices = -1
)

// isForwardingSwitch reports whether the notification says that somebody wrote
// the namespace's forwarding switch, which resets that of every device.
func isForwardingSwitch(m syscall.NetlinkMessage) bool {
	ifindex, forwarding := parseNetconf(m)
	return forwarding && ifindex == netconfAllDevices
}

// parseNetconf reads an RTM_NEWNETCONF: of which device, and whether it is about
// forwarding. Of any other message the ifindex is 0.
func parseNetconf(m syscall.NetlinkMessage) (ifindex int, forwarding bool) {
	const sizeofNetconfmsg = 4 // a family, padded
	if m.Header.Type != unix.RTM_NEWNETCONF || len(m.Data) < sizeofNetconfmsg {
		return 0, false
	}
	attrs, err := nl.ParseRouteAttr(m.Data[sizeofNetconfmsg:])
	if err != nil {
		return 0, false
	}
	for _, attr := range attrs {
		switch attr.Attr.Type {
		case netconfIfindex:
			ifindex = int(int32(binary.NativeEndian.Uint32(attr.Value)))
		case netconfForwarding:
			forwarding = true
		}
	}
	return ifindex, forwarding
}

// subject returns the ifindex of the device that a notification says something
// has changed or gone of, 0 for others.
func subject(m syscall.NetlinkMessage) int {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if info := nl.DeserializeIfInfomsg(m.Data); info.Family != unix.AF_BRIDGE {
			return int(info.Index)
		}
	case unix.RTM_DELADDR:
		return int(nl.DeserializeIfAddrmsg(m.Data).Index)
	case unix.RTM_NEWNETCONF:
		ifindex, _ := parseNetconf(m)
		return ifindex
	}
	return 0
}
