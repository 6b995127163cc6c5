package datapath_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// TCP's flags, as the header has them.
const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	psh = 0x08
	ack = 0x10
)

// frame is a packet that a test builds, copies and changes one field of. Its
// family is that of its source.
type frame struct {
	srcMAC, dstMAC net.HardwareAddr
	src, dst       netip.Addr
	protocol       layers.IPProtocol
	sport, dport   uint16      // an ICMP echo has its identifier in both
	flags          uint8       // of TCP
	icmp           uint8       // type of ICMP
	ttl            uint8       // or hop limit
	options        []byte      // of IPv4, a multiple of four bytes
	extensions     []extension // of IPv6, before the fragment header
	id             uint16      // what fragments of one packet share
	more           bool        // "more fragments"
	offset         uint16      // of a fragment, in units of eight bytes
	noChecksum     bool        // of UDP
	payload        []byte
	raw            []byte // all that follows the IP header, instead of it
	arp            []byte // ARP, instead of an IP packet
	padding        []byte // behind the IP packet, as short Ethernet frames have it
}

// extension is an extension header of IPv6: its type, and its bytes from the
// third on, up to a multiple of eight.
type extension struct {
	kind layers.IPProtocol
	body []byte
}

func (s station) frame(protocol layers.IPProtocol, port uint16, to netip.AddrPort) frame {
	return frame{
		srcMAC: s.mac, dstMAC: s.hop, src: s.addr, dst: to.Addr(),
		protocol: protocol, sport: port, dport: to.Port(),
		ttl: 64, payload: []byte("as it was sent"),
	}
}

func (s station) tcp(port uint16, to netip.AddrPort, flags uint8) frame {
	f := s.frame(layers.IPProtocolTCP, port, to)
	f.flags = flags
	return f
}

func (s station) udp(port uint16, to netip.AddrPort) frame {
	return s.frame(layers.IPProtocolUDP, port, to)
}

func (s station) echo(id uint16, to netip.Addr) frame {
	return s.icmp(castOf(s.addr).icmp.echo, id, to)
}

// message is any message of ICMP: rest is what follows its checksum.
func (s station) message(to netip.Addr, kind, code byte, rest []byte) frame {
	f := s.frame(layers.IPProtocol(castOf(to).icmp.protocol), 0, at(to, 0))
	f.raw = append([]byte{kind, code, 0, 0}, rest...)
	var pseudo []byte
	if to.Is6() {
		pseudo = pseudoHeader(slices.Concat(s.addr.AsSlice(), to.AsSlice()), f.protocol, len(f.raw))
	}
	binary.BigEndian.PutUint16(f.raw[2:], ^sum16(pseudo, f.raw))
	return f
}

// icmp is an ICMP message of a type, as long as an echo request.
func (s station) icmp(kind uint8, id uint16, to netip.Addr) frame {
	f := s.frame(layers.IPProtocol(castOf(s.addr).icmp.protocol), id, at(to, id))
	f.icmp = kind
	return f
}

// isICMP says whether a frame is one of its family's ICMP.
func (f frame) isICMP() bool { return uint8(f.protocol) == castOf(f.src).icmp.protocol }

// answer is what the receiver of f sends back from the station s. flags are
// those of TCP.
func (f frame) answer(s station, flags uint8) frame {
	f.srcMAC, f.dstMAC = s.mac, s.hop
	f.src, f.dst = f.dst, f.src
	f.sport, f.dport = f.dport, f.sport
	f.flags = flags
	f.ttl = 64
	if f.isICMP() {
		f.icmp = castOf(f.src).icmp.reply
	}
	return f
}

// to changes where a frame goes; an echo keeps its identifier.
func (f frame) to(dst netip.AddrPort) frame {
	f.dst, f.dport = dst.Addr(), dst.Port()
	return f
}

// from changes where a frame comes from. An echo's port is its identifier.
func (f frame) from(src netip.AddrPort) frame {
	f.src, f.sport = src.Addr(), src.Port()
	return f
}

// hop takes one from the TTL.
func (f frame) hop() frame {
	f.ttl--
	return f
}

// delivered gives a frame the hardware addresses that it has in e's namespace.
func (f frame) delivered(e endpoint) frame {
	f.srcMAC, f.dstMAC = gatewayMAC, e.mac
	return f
}

// echoID changes an echo's identifier.
func (f frame) echoID(id uint16) frame {
	f.sport, f.dport = id, id
	return f
}

// with is a frame after a change.
func (f frame) with(change func(*frame)) frame {
	change(&f)
	return f
}

func withoutChecksum(f frame) frame { return f.with(func(f *frame) { f.noChecksum = true }) }
func firstFragment(f frame) frame   { return f.with(func(f *frame) { f.more = true }) }
func laterFragment(f frame) frame   { return f.with(func(f *frame) { f.offset = 8 }) }

func withFlags(f frame, flags uint8) frame { return f.with(func(f *frame) { f.flags = flags }) }
func withTTL(f frame, ttl uint8) frame     { return f.with(func(f *frame) { f.ttl = ttl }) }

func withPayload(f frame, payload []byte) frame {
	return f.with(func(f *frame) { f.payload = payload })
}

func withOptions(f frame, options ...byte) frame {
	return f.with(func(f *frame) { f.options = options })
}

func withExtensions(f frame, extensions ...extension) frame {
	return f.with(func(f *frame) { f.extensions = extensions })
}

func withProtocol(f frame, protocol layers.IPProtocol) frame {
	return f.with(func(f *frame) { f.protocol = protocol })
}

// withMoreHeaders puts something harmless between a frame's addresses and its
// transport header: options of IPv4, extension headers of IPv6.
func withMoreHeaders(f frame) frame {
	if f.src.Is4() {
		return withOptions(f, routerAlert...)
	}
	return withExtensions(f, padOptions(layers.IPProtocolIPv6Destination, 8))
}

// withMostHeaders puts as much there as can be translated.
func withMostHeaders(f frame) frame {
	if f.src.Is4() {
		return withOptions(f, append([]byte{130, 40}, make([]byte, 38)...)...)
	}
	return withExtensions(f, padOptions(layers.IPProtocolIPv6HopByHop, 64), padOptions(layers.IPProtocolIPv6Destination, 136))
}

func TestFramesAreRight(t *testing.T) {
	bothFamilies(t, func(t *testing.T, c *cast) {
		to := c.remote.at(443)
		for name, f := range map[string]frame{
			"tcp": c.client.tcp(1, to, syn), "udp": c.client.udp(1, to), "echo": c.client.echo(1, to.Addr()),
			"more headers": withMoreHeaders(c.client.udp(1, to)), "most headers": withMostHeaders(c.client.tcp(1, to, ack)),
			"zero": withoutChecksum(c.client.udp(1, to)), "first fragment": firstFragment(c.client.udp(1, to)),
		} {
			raw := f.bytes()
			if err := verifyChecksums(raw); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			packet := gopacket.NewPacket(raw, layers.LayerTypeEthernet, gopacket.Default)
			if failure := packet.ErrorLayer(); failure != nil {
				t.Errorf("%s: %v", name, failure.Error())
			}
			if at := transportAt(raw); f.protocol == layers.IPProtocolUDP && (raw[at] != 0 || raw[at+1] != 1) {
				t.Errorf("%s: the transport header is not at %d: %x", name, at, raw)
			}
		}
	})
}
