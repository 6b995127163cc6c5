package bench

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/netdev"
)

// nic is a device of a namespace.
type nic struct{ namespace, device string }

// hook is where a program can be attached.
type hook struct {
	nic
	attach ebpf.AttachType
}

func (n nic) ingress() hook { return hook{n, ebpf.AttachTCXIngress} }
func (n nic) egress() hook  { return hook{n, ebpf.AttachTCXEgress} }

// lane is where the frames of one path and family begin and end on a site.
type lane struct {
	family    *family
	from, to  nic
	flow      func(i int) (src, dst netip.AddrPort)
	seen      netip.Addr // the sender, as the other end sees it
	served    uint16     // the port at which the other end is asked
	replyAddr netip.Addr // the other end's own address; the zero one for any
}

// path is a way that packets take.
type path struct {
	name   string
	member bool // it ends at the member
	lane   func(s *site, f *family) *lane
	// Where the frames enter the host: the floor's end, and the place of the
	// redirect's program, which leads to `to`.
	entry    func(s *site) nic
	end      func(s *site) hook // where they end in the other arms
	redirect func(s *site) (to string, program string)
}

// The flows of a lane have this many source ports for each address of the
// other end.
const portsPerAddr = 1000

// MostFlows is how many flows a lane has addresses for.
const MostFlows = 1_000_000

// The port that is published, those that senders use, and the first ones of the
// others that are asked.
var forwardedPort = publishedPort{"udp", 5353, 53}

const (
	firstSenderPort = 20000
	firstAliasPort  = 1000
	outsidePort     = 53
	pathPublished   = "published"
	pathMasquerade  = "masquerade"
	pathVIP         = "vip"
	redirectPeer    = "bare_redirect"
	redirectOut     = "bare_redirect_out"
)

var paths = []path{
	{
		name: pathPublished,
		lane: func(s *site, f *family) *lane {
			return &lane{
				family: f, from: nic{s.client, device}, to: nic{s.container.namespace, device},
				flow: func(i int) (src, dst netip.AddrPort) {
					return senderPort(outsideAddr(f, i/portsPerAddr), i), netip.AddrPortFrom(f.host.Addr(), forwardedPort.host)
				},
				seen: outsideAddr(f, 0), served: forwardedPort.container,
			}
		},
		entry:    func(s *site) nic { return nic{s.host, device} },
		end:      func(s *site) hook { return nic{s.container.namespace, device}.ingress() },
		redirect: func(s *site) (string, string) { return s.container.port, redirectPeer },
	},
	{
		name: pathMasquerade,
		lane: func(s *site, f *family) *lane {
			return &lane{
				family: f, from: nic{s.container.namespace, device}, to: nic{s.client, device},
				flow: func(i int) (src, dst netip.AddrPort) {
					return senderPort(f.of(s.container.addrs), i), netip.AddrPortFrom(outsideAddr(f, i/portsPerAddr), outsidePort)
				},
				seen: f.host.Addr(), served: outsidePort, replyAddr: outsideAddr(f, 0),
			}
		},
		entry:    func(s *site) nic { return nic{s.host, s.container.port} },
		end:      func(s *site) hook { return nic{s.host, device}.egress() },
		redirect: func(s *site) (string, string) { return device, redirectOut },
	},
	{
		name:   pathVIP,
		member: true,
		lane: func(s *site, f *family) *lane {
			return &lane{
				family: f, from: nic{s.container.namespace, device}, to: nic{s.member.namespace, device},
				flow: func(i int) (src, dst netip.AddrPort) {
					port := firstAliasPort + uint16(i/portsPerAddr)
					return senderPort(f.of(s.container.addrs), i), netip.AddrPortFrom(f.of(s.vips), port)
				},
				seen: f.of(s.container.addrs), served: firstAliasPort,
			}
		},
		entry:    func(s *site) nic { return nic{s.host, s.container.port} },
		end:      func(s *site) hook { return nic{s.member.namespace, device}.ingress() },
		redirect: func(s *site) (string, string) { return s.member.port, redirectPeer },
	},
}

func senderPort(addr netip.Addr, i int) netip.AddrPort {
	return netip.AddrPortFrom(addr, firstSenderPort+uint16(i%portsPerAddr))
}

// outsideAddr is the k-th address behind the client.
func outsideAddr(f *family, k int) netip.Addr {
	bytes := f.outside.Addr().AsSlice()
	last := bytes[len(bytes)-2:]
	binary.BigEndian.PutUint16(last, binary.BigEndian.Uint16(last)+uint16(k)+1)
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

// macs returns the addresses that a frame from a device to an IP address has.
// The next hop must have been heard of.
func macs(from nic, to netip.Addr) (src, dst net.HardwareAddr, err error) {
	err = netdev.InNamespace(from.namespace, func() error {
		routes, err := netlink.RouteGet(to.AsSlice())
		if err != nil {
			return fmt.Errorf("look for a route to %s: %w", to, err)
		}
		hop := routes[0].Gw
		if hop == nil {
			hop = to.AsSlice()
		}
		link, err := netlink.LinkByName(from.device)
		if err != nil {
			return err
		}
		src = link.Attrs().HardwareAddr
		neighbours, err := netlink.NeighList(link.Attrs().Index, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(neighbours, func(n netlink.Neigh) bool { return n.IP.Equal(hop) && len(n.HardwareAddr) == 6 })
		if i < 0 {
			return fmt.Errorf("the MAC address of %s is not known", hop)
		}
		dst = neighbours[i].HardwareAddr
		return nil
	})
	return src, dst, err
}
