package e2e

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// packet is one of IPv4, or of IPv6 when its addresses are, that a test makes up.
type packet struct {
	srcMAC, dstMAC net.HardwareAddr
	src, dst       string      // address:port
	tcp            *layers.TCP // its ports are those above; nil for UDP
	options        []byte      // of IPv4
	payload        string
}

func (k packet) bytes() []byte {
	src, dst := netip.MustParseAddrPort(k.src), netip.MustParseAddrPort(k.dst)
	var transport interface {
		gopacket.SerializableLayer
		SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
	} = &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}
	protocol := layers.IPProtocolUDP
	if k.tcp != nil {
		segment := *k.tcp
		segment.SrcPort, segment.DstPort = layers.TCPPort(src.Port()), layers.TCPPort(dst.Port())
		transport, protocol = &segment, layers.IPProtocolTCP
	}
	ip, kind := k.network(src.Addr(), dst.Addr(), protocol)
	_ = transport.SetNetworkLayerForChecksum(ip) // fails for other layers than IP's
	return serialize(&layers.Ethernet{SrcMAC: k.srcMAC, DstMAC: k.dstMAC, EthernetType: kind}, ip, transport, gopacket.Payload(k.payload))
}

// networkHeader is a header of IP.
type networkHeader interface {
	gopacket.NetworkLayer
	gopacket.SerializableLayer
}

func (k packet) network(src, dst netip.Addr, protocol layers.IPProtocol) (networkHeader, layers.EthernetType) {
	if src.Is6() {
		return &layers.IPv6{
			Version: 6, HopLimit: 64, NextHeader: protocol, SrcIP: src.AsSlice(), DstIP: dst.AsSlice(),
		}, layers.EthernetTypeIPv6
	}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	if len(k.options) > 0 {
		ip.Options = []layers.IPv4Option{{OptionType: k.options[0], OptionLength: uint8(len(k.options)), OptionData: k.options[2:]}}
	}
	return ip, layers.EthernetTypeIPv4
}

// arp is an ARP packet for IPv4 on Ethernet, sent to everybody.
func arp(operation uint16, frameMAC, senderMAC net.HardwareAddr, sender, target string) []byte {
	return serialize(
		&layers.Ethernet{SrcMAC: frameMAC, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: operation, SourceHwAddress: senderMAC, SourceProtAddress: netip.MustParseAddr(sender).AsSlice(),
			DstHwAddress: make([]byte, 6), DstProtAddress: netip.MustParseAddr(target).AsSlice(),
		})
}

func serialize(all ...gopacket.SerializableLayer) []byte {
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, all...); err != nil {
		panic(err) // the test built nonsense
	}
	return buffer.Bytes()
}

// discovery is a message of neighbour discovery (RFC 4861): options are whole ones,
// each of eight bytes.
func discovery(srcMAC, dstMAC net.HardwareAddr, src, dst string, kind uint8, target string, options ...[]byte) []byte {
	ip := &layers.IPv6{
		Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6,
		SrcIP: netip.MustParseAddr(src).AsSlice(), DstIP: netip.MustParseAddr(dst).AsSlice(),
	}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
	_ = icmp.SetNetworkLayerForChecksum(ip)
	rest := slices.Concat(make([]byte, 4), netip.MustParseAddr(target).AsSlice(), slices.Concat(options...))
	return serialize(&layers.Ethernet{SrcMAC: srcMAC, DstMAC: dstMAC, EthernetType: layers.EthernetTypeIPv6}, ip, icmp, gopacket.Payload(rest))
}

// behind puts an extension header of IPv6 in front of all that a frame has: its
// type, and what it has from the third byte on.
func behind(frame []byte, kind byte, body ...byte) []byte {
	const ethernet, ip = 14, 40
	header := slices.Concat([]byte{frame[ethernet+6], byte((len(body)+2)/8 - 1)}, body)
	out := slices.Concat(frame[:ethernet+ip], header, frame[ethernet+ip:])
	out[ethernet+6] = kind
	binary.BigEndian.PutUint16(out[ethernet+4:], uint16(len(out)-ethernet-ip))
	return out
}
