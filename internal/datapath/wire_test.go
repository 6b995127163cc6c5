package datapath_test

import (
	"encoding/binary"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

const (
	ethernet   = 14 // bytes of the Ethernet header
	ipv6Header = 40
)

// What fragments share unless a test says otherwise.
const defaultID = 0x1234

// bytes is the frame as it is on the wire, every length and checksum right.
func (f frame) bytes() []byte {
	if f.arp != nil {
		return slices.Concat(f.dstMAC, f.srcMAC, []byte{0x08, 0x06}, f.arp)
	}
	if f.id == 0 {
		f.id = defaultID
	}
	var raw []byte
	if f.src.Is4() {
		raw = slices.Concat(f.dstMAC, f.srcMAC, []byte{0x08, 0x00}, f.ipv4(), f.padding)
	} else {
		raw = slices.Concat(f.dstMAC, f.srcMAC, []byte{0x86, 0xdd}, f.ipv6(), f.padding)
	}
	if f.noChecksum && f.offset == 0 {
		copy(raw[transportAt(raw)+6:], []byte{0, 0})
	}
	return raw
}

func (f frame) ipv4() []byte {
	ip := &layers.IPv4{
		Version: 4, Id: f.id, TTL: f.ttl, Protocol: f.protocol, FragOffset: f.offset,
		SrcIP: f.src.AsSlice(), DstIP: f.dst.AsSlice(),
	}
	if len(f.options) > 0 {
		// Room for them: gopacket does not write all that a test may want.
		ip.Options = []layers.IPv4Option{{OptionType: 130, OptionLength: uint8(len(f.options)), OptionData: f.options[2:]}}
	}
	if f.more {
		ip.Flags = layers.IPv4MoreFragments
	}
	raw := serialize(ip, f.transport(ip)...)
	if len(f.options) > 0 {
		copy(raw[20:], f.options)
		copy(raw[10:], []byte{0, 0})
		binary.BigEndian.PutUint16(raw[10:], ^sum16(raw[:20+len(f.options)]))
	}
	return raw
}

func (f frame) ipv6() []byte {
	ip := &layers.IPv6{Version: 6, HopLimit: f.ttl, SrcIP: f.src.AsSlice(), DstIP: f.dst.AsSlice()}
	extensions := f.extensions
	if f.more || f.offset > 0 {
		extensions = append(slices.Clone(extensions), fragmentHeader(f.id, f.offset, f.more))
	}
	next := f.protocol
	var headers []byte
	for _, e := range slices.Backward(extensions) {
		headers = slices.Concat([]byte{byte(next), byte((len(e.body)+2)/8 - 1)}, e.body, headers)
		next = e.kind
	}
	raw := serialize(ip, append([]gopacket.SerializableLayer{gopacket.Payload(headers)}, f.transport(ip)...)...)
	raw[6] = byte(next) // gopacket would want to write the headers
	return raw
}

func serialize(ip gopacket.SerializableLayer, rest ...gopacket.SerializableLayer) []byte {
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, append([]gopacket.SerializableLayer{ip}, rest...)...); err != nil {
		panic(err) // the test built nonsense
	}
	return buffer.Bytes()
}

// transport is all that follows the IP header and its extensions.
func (f frame) transport(ip gopacket.NetworkLayer) []gopacket.SerializableLayer {
	payload := gopacket.Payload(f.payload)
	switch {
	case f.raw != nil:
		return []gopacket.SerializableLayer{gopacket.Payload(f.raw)}
	case f.offset > 0:
	case f.protocol == layers.IPProtocolTCP:
		tcp := &layers.TCP{
			SrcPort: layers.TCPPort(f.sport), DstPort: layers.TCPPort(f.dport), Seq: 0x01020304, Ack: 0x0a0b0c0d, Window: 4096,
			FIN: f.flags&fin != 0, SYN: f.flags&syn != 0, RST: f.flags&rst != 0, PSH: f.flags&psh != 0, ACK: f.flags&ack != 0,
		}
		_ = tcp.SetNetworkLayerForChecksum(ip) // fails for other layers than IP's
		return []gopacket.SerializableLayer{tcp, payload}
	case f.protocol == layers.IPProtocolUDP:
		udp := &layers.UDP{SrcPort: layers.UDPPort(f.sport), DstPort: layers.UDPPort(f.dport)}
		_ = udp.SetNetworkLayerForChecksum(ip)
		return []gopacket.SerializableLayer{udp, payload}
	case f.isICMP() && f.src.Is4():
		return []gopacket.SerializableLayer{&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(f.icmp, 0), Id: f.sport, Seq: 7}, payload}
	case f.isICMP():
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(f.icmp, 0)}
		_ = icmp.SetNetworkLayerForChecksum(ip)
		return []gopacket.SerializableLayer{icmp, &layers.ICMPv6Echo{Identifier: f.sport, SeqNumber: 7}, payload}
	}
	return []gopacket.SerializableLayer{payload}
}

// padOptions is a header with padding options (RFC 8200 4.2), of so many bytes:
// eight or more.
func padOptions(kind layers.IPProtocol, length int) extension {
	return extension{kind, append([]byte{1, byte(length - 4)}, make([]byte, length-4)...)}
}

// routingHeader is one of a type that has so many segments left (RFC 8200 4.4).
func routingHeader(kind, left uint8) extension {
	return extension{layers.IPProtocolIPv6Routing, append([]byte{kind, left, 0, 0, 0, 0}, addr("2001:db8:5::5").AsSlice()...)}
}

func fragmentHeader(id, offset uint16, more bool) extension {
	body := []byte{0, 0, 0xab, 0xcd, 0, 0}
	binary.BigEndian.PutUint16(body, offset<<3)
	if more {
		body[1] |= 1
	}
	binary.BigEndian.PutUint16(body[4:], id)
	return extension{layers.IPProtocolIPv6Fragment, body}
}
