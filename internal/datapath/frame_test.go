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

// frame is a packet that a test builds, copies and changes one field of.
type frame struct {
	srcMAC, dstMAC net.HardwareAddr
	src, dst       netip.Addr
	protocol       layers.IPProtocol
	sport, dport   uint16 // an ICMP echo has its identifier in both
	flags          uint8  // of TCP
	icmp           uint8  // type of ICMP
	ttl            uint8
	options        []byte      // of IPv4, a multiple of four bytes
	extensions     []extension // of IPv6, before the fragment header
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

// station sends frames: its own hardware address, that of its next hop and
// its address.
type station struct {
	mac, hop net.HardwareAddr
	addr     netip.Addr
}

// The stations outside, and the host's process that speaks from 127.0.0.1.
var (
	client   = station{routerMAC, hostMAC, clientAddr}
	remote   = station{routerMAC, hostMAC, remoteAddr}
	loopback = station{gatewayMAC, mustMAC("02:42:ac:11:00:02"), netip.MustParseAddr("127.0.0.1")}
)

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
	f := s.frame(layers.IPProtocolICMPv4, id, netip.AddrPortFrom(to, id))
	f.icmp = layers.ICMPv4TypeEchoRequest
	if to.Is6() {
		f.protocol, f.icmp = layers.IPProtocolICMPv6, layers.ICMPv6TypeEchoRequest
	}
	return f
}

// answer is what the receiver of f sends back from the station s. flags are
// those of TCP.
func (f frame) answer(s station, flags uint8) frame {
	f.srcMAC, f.dstMAC = s.mac, s.hop
	f.src, f.dst = f.dst, f.src
	f.sport, f.dport = f.dport, f.sport
	f.flags = flags
	f.ttl = 64
	switch f.protocol {
	case layers.IPProtocolICMPv4:
		f.icmp = layers.ICMPv4TypeEchoReply
	case layers.IPProtocolICMPv6:
		f.icmp = layers.ICMPv6TypeEchoReply
	}
	return f
}

// to changes where a frame goes.
func (f frame) to(dst netip.AddrPort) frame {
	f.dst, f.dport = dst.Addr(), dst.Port()
	return f
}

// from changes where a frame comes from.
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

// id changes an echo's identifier.
func (f frame) id(id uint16) frame {
	f.sport, f.dport = id, id
	return f
}

func (f frame) transport(ip gopacket.NetworkLayer) []gopacket.SerializableLayer {
	switch {
	case f.raw != nil:
		return []gopacket.SerializableLayer{gopacket.Payload(f.raw)}
	case f.offset > 0:
		return nil
	case f.protocol == layers.IPProtocolTCP:
		tcp := &layers.TCP{
			SrcPort: layers.TCPPort(f.sport), DstPort: layers.TCPPort(f.dport), Seq: 0x01020304, Ack: 0x0a0b0c0d, Window: 4096,
			FIN: f.flags&fin != 0, SYN: f.flags&syn != 0, RST: f.flags&rst != 0, PSH: f.flags&psh != 0, ACK: f.flags&ack != 0,
		}
		_ = tcp.SetNetworkLayerForChecksum(ip) // fails for other layers than IP's
		return []gopacket.SerializableLayer{tcp}
	case f.protocol == layers.IPProtocolUDP:
		udp := &layers.UDP{SrcPort: layers.UDPPort(f.sport), DstPort: layers.UDPPort(f.dport)}
		_ = udp.SetNetworkLayerForChecksum(ip)
		return []gopacket.SerializableLayer{udp}
	case f.protocol == layers.IPProtocolICMPv4:
		return []gopacket.SerializableLayer{&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(f.icmp, 0), Id: f.sport, Seq: 7}}
	case f.protocol == layers.IPProtocolICMPv6:
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(f.icmp, 0)}
		_ = icmp.SetNetworkLayerForChecksum(ip)
		return []gopacket.SerializableLayer{icmp, &layers.ICMPv6Echo{Identifier: f.sport, SeqNumber: 7}}
	}
	return nil
}

// segment is the transport header and what follows it.
func (f frame) segment(ip gopacket.NetworkLayer) []byte {
	parts := append(f.transport(ip), gopacket.Payload(f.rest()))
	raw := serialize(parts...)
	if f.noChecksum && f.offset == 0 {
		copy(raw[6:], []byte{0, 0})
	}
	return raw
}

func serialize(parts ...gopacket.SerializableLayer) []byte {
	buffer := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...)
	if err != nil {
		panic(err) // the test built nonsense
	}
	return buffer.Bytes()
}

// bytes is the frame as it is on the wire, every length and checksum right.
func (f frame) bytes() []byte {
	switch {
	case f.arp != nil:
		return slices.Concat(f.dstMAC, f.srcMAC, []byte{0x08, 0x06}, f.arp)
	case f.src.Is6():
		return slices.Concat(f.dstMAC, f.srcMAC, []byte{0x86, 0xdd}, f.ipv6(), f.padding)
	}
	return slices.Concat(f.dstMAC, f.srcMAC, []byte{0x08, 0x00}, f.ipv4(), f.padding)
}

func (f frame) ipv4() []byte {
	ip := &layers.IPv4{
		Version: 4, Id: 0x1234, TTL: f.ttl, Protocol: f.protocol, FragOffset: f.offset,
		SrcIP: f.src.AsSlice(), DstIP: f.dst.AsSlice(),
	}
	if len(f.options) > 0 {
		// Room for them: gopacket does not write all that a test may want.
		ip.Options = []layers.IPv4Option{{OptionType: 130, OptionLength: uint8(len(f.options)), OptionData: f.options[2:]}}
	}
	if f.more {
		ip.Flags = layers.IPv4MoreFragments
	}
	raw := serialize(ip, gopacket.Payload(f.segment(ip)))
	if len(f.options) > 0 {
		copy(raw[20:], f.options)
		copy(raw[10:], []byte{0, 0})
		binary.BigEndian.PutUint16(raw[10:], ^sum16(raw[:20+len(f.options)]))
	}
	return raw
}

func (f frame) ipv6() []byte {
	ip := &layers.IPv6{Version: 6, HopLimit: f.ttl, NextHeader: f.protocol, SrcIP: f.src.AsSlice(), DstIP: f.dst.AsSlice()}
	raw := f.segment(ip)
	if f.more || f.offset > 0 {
		header := []byte{uint8(ip.NextHeader), 0, uint8(f.offset >> 5), uint8(f.offset << 3), 0, 0, 0x12, 0x34}
		if f.more {
			header[3] |= 1
		}
		raw, ip.NextHeader = append(header, raw...), layers.IPProtocolIPv6Fragment
	}
	for _, e := range slices.Backward(f.extensions) {
		raw = slices.Concat([]byte{uint8(ip.NextHeader), uint8((len(e.body)+2)/8 - 1)}, e.body, raw)
		ip.NextHeader = e.kind
	}
	return serialize(ip, gopacket.Payload(raw))
}

// rest is what follows the transport header.
func (f frame) rest() []byte {
	if f.raw != nil {
		return nil
	}
	return f.payload
}

// transportAt is where the transport header of an IPv4 frame begins.
func transportAt(raw []byte) int { return 14 + int(raw[14]&0xf)*4 }

// sourcePort reads a TCP or UDP frame's source port, or an echo's identifier.
func sourcePort(raw []byte) uint16 {
	at := transportAt(raw)
	if layers.IPProtocol(raw[23]) == layers.IPProtocolICMPv4 {
		at += 4
	}
	return uint16(raw[at])<<8 | uint16(raw[at+1])
}

func TestFramesAreRight(t *testing.T) {
	t.Parallel()
	to := netip.AddrPortFrom(remoteAddr, 443)
	options := client.udp(1, to)
	options.options = []byte{148, 4, 0, 0}
	zero := client.udp(1, to)
	zero.noChecksum = true
	for name, f := range map[string]frame{
		"tcp": client.tcp(1, to, syn), "udp": client.udp(1, to), "echo": client.echo(1, remoteAddr), "options": options, "zero": zero,
	} {
		raw := f.bytes()
		if err := verifyChecksums(raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		packet := gopacket.NewPacket(raw, layers.LayerTypeEthernet, gopacket.Default)
		if failure := packet.ErrorLayer(); failure != nil {
			t.Errorf("%s: %v", name, failure.Error())
		}
	}
}
