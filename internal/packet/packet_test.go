package packet_test

import (
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/packet"
)

var (
	here, there = net.HardwareAddr{2, 0x42, 172, 17, 0, 2}, net.HardwareAddr{2, 0x42, 172, 17, 0, 1}
	ethernet4   = &layers.Ethernet{SrcMAC: here, DstMAC: there, EthernetType: layers.EthernetTypeIPv4}
	ethernet6   = &layers.Ethernet{SrcMAC: here, DstMAC: there, EthernetType: layers.EthernetTypeIPv6}
	payload     = gopacket.Payload("some payload")
)

func ipv4(protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: protocol, SrcIP: net.IP{172, 17, 0, 2}, DstIP: net.IP{198, 51, 100, 7}}
}

func ipv6(next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: next, SrcIP: net.ParseIP("fd00::2"), DstIP: net.ParseIP("2001:db8::7")}
}

func frame(t *testing.T, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true}, all...); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func arp(operation uint16) *layers.ARP {
	return &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: operation, SourceHwAddress: here, SourceProtAddress: []byte{172, 17, 0, 2},
		DstHwAddress: there, DstProtAddress: []byte{172, 17, 0, 9},
	}
}

func icmp4(kind, code uint8) *layers.ICMPv4 {
	return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, code), Id: 7, Seq: 1}
}

func icmp6(kind, code uint8) *layers.ICMPv6 {
	return &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, code)}
}

func TestLines(t *testing.T) {
	t.Parallel()
	type stack = []gopacket.SerializableLayer
	tcp4, udp4, icmp := ipv4(layers.IPProtocolTCP), ipv4(layers.IPProtocolUDP), ipv4(layers.IPProtocolICMPv4)
	over6 := ipv6(layers.IPProtocolICMPv6)
	syn := &layers.TCP{SrcPort: 40000, DstPort: 80, SYN: true}
	udp := &layers.UDP{SrcPort: 40000, DstPort: 53}
	first, last := ipv4(layers.IPProtocolUDP), ipv4(layers.IPProtocolUDP)
	first.Id, first.Flags = 7, layers.IPv4MoreFragments
	last.Id, last.FragOffset = 7, 185
	arpEthernet := &layers.Ethernet{SrcMAC: here, DstMAC: there, EthernetType: layers.EthernetTypeARP}
	fragment6 := gopacket.Payload{17, 0, 0x05, 0xc8, 0, 0, 0, 7, 'x'}
	for want, all := range map[string]stack{
		"172.17.0.2:40000 > 198.51.100.7:80 tcp [S]":                {ethernet4, tcp4, syn},
		"172.17.0.2:1 > 198.51.100.7:2 tcp [FP.]":                   {ethernet4, tcp4, &layers.TCP{SrcPort: 1, DstPort: 2, FIN: true, PSH: true, ACK: true}, payload},
		"172.17.0.2:1 > 198.51.100.7:2 tcp [none]":                  {ethernet4, tcp4, &layers.TCP{SrcPort: 1, DstPort: 2}},
		"172.17.0.2:40000 > 198.51.100.7:53 udp":                    {ethernet4, udp4, udp, payload},
		"172.17.0.2 > 198.51.100.7 gre":                             {ethernet4, ipv4(layers.IPProtocolGRE), payload},
		"172.17.0.2 > 198.51.100.7 protocol 253":                    {ethernet4, ipv4(253), payload},
		"172.17.0.2 > 198.51.100.7 ipip":                            {ethernet4, ipv4(layers.IPProtocolIPv4), tcp4, syn},
		"172.17.0.2:40000 > 198.51.100.7:53 udp fragment 0x7 at 0":  {ethernet4, first, udp, payload},
		"172.17.0.2 > 198.51.100.7 udp fragment 0x7 at 1480 (last)": {ethernet4, last, payload},
		"172.17.0.2 > 198.51.100.7 icmp echo id 7 seq 1":            {ethernet4, icmp, icmp4(8, 0)},
		"172.17.0.2 > 198.51.100.7 icmp timestamp":                  {ethernet4, icmp, icmp4(13, 0)},
		"172.17.0.2 > 198.51.100.7 icmp destination unreachable code 3 about (172.17.0.2:40000 > 198.51.100.7:53 udp)": {
			ethernet4, icmp, icmp4(3, 3), gopacket.Payload(frame(t, udp4, udp))},
		"172.17.0.2 > 198.51.100.7 icmp time exceeded":               {ethernet4, icmp, icmp4(11, 0)},
		"arp who-has 172.17.0.9 tell 172.17.0.2 (02:42:ac:11:00:02)": {arpEthernet, arp(layers.ARPRequest)},
		"arp reply 172.17.0.2 is-at 02:42:ac:11:00:02":               {arpEthernet, arp(layers.ARPReply)},
		"arp operation 9 of 172.17.0.2 (02:42:ac:11:00:02)":          {arpEthernet, arp(9)},
		"[fd00::2]:40000 > [2001:db8::7]:80 tcp [S]":                 {ethernet6, ipv6(layers.IPProtocolTCP), syn},
		"fd00::2 > 2001:db8::7 protocol 253":                         {ethernet6, ipv6(253), payload},
		"fd00::2 > 2001:db8::7 udp fragment 0x7 at 1480 (last)":      {ethernet6, ipv6(layers.IPProtocolIPv6Fragment), fragment6},
		"fd00::2 > 2001:db8::7 icmp6 echo request id 7 seq 1":        {ethernet6, over6, icmp6(128, 0), &layers.ICMPv6Echo{Identifier: 7, SeqNumber: 1}},
		"fd00::2 > 2001:db8::7 icmp6 neighbor solicitation target fe80::1": {
			ethernet6, over6, icmp6(135, 0), &layers.ICMPv6NeighborSolicitation{TargetAddress: net.ParseIP("fe80::1")}},
		"fd00::2 > 2001:db8::7 icmp6 packet too big mtu 1280 about ([fd00::2]:40000 > [2001:db8::7]:80 tcp [S])": {
			ethernet6, over6, icmp6(2, 0), gopacket.Payload(append([]byte{0, 0, 5, 0}, frame(t, ipv6(layers.IPProtocolTCP), syn)...))},
		"172.17.0.2 > 198.51.100.7 icmp type 200 code 1": {ethernet4, icmp, icmp4(200, 1)},
		"172.17.0.2 > 198.51.100.7 icmp destination unreachable code 4 about (172.17.0.2:40000 > 198.51.100.7:53 udp) mtu 1400": {
			ethernet4, icmp, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 4), Seq: 1400}, gopacket.Payload(frame(t, udp4, udp))},
		"172.17.0.2 > 198.51.100.7 icmp time exceeded about (172.17.0.2:40000 > 198.51.100.7:80 tcp)": {
			ethernet4, icmp, icmp4(11, 0), gopacket.Payload(frame(t, tcp4, syn)[:28])},
		"[fd00::2]:40000 > [2001:db8::7]:80 tcp [S] fragment 0x7 at 0": {
			ethernet6, ipv6(layers.IPProtocolIPv6HopByHop), gopacket.Payload{44, 0, 1, 4, 0, 0, 0, 0}, gopacket.Payload{6, 0, 0, 1, 0, 0, 0, 7}, syn},
		"fd00::2 > 2001:db8::7 routing":                          {ethernet6, ipv6(layers.IPProtocolIPv6Routing), gopacket.Payload{6, 9}},
		"02:42:ac:11:00:02 > 02:42:ac:11:00:01 ethertype 0x88b5": {&layers.Ethernet{SrcMAC: here, DstMAC: there, EthernetType: 0x88b5}, payload},
		"02:42:ac:11:00:02 > 02:42:ac:11:00:01 vlan 7 ethertype 0x88b5": {
			&layers.Ethernet{SrcMAC: here, DstMAC: there, EthernetType: layers.EthernetTypeDot1Q}, &layers.Dot1Q{VLANIdentifier: 7, Type: 0x88b5}, payload},
	} {
		if got := packet.Of(frame(t, all...)).String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestWithoutLinkLayer covers packets that begin with the IP header.
func TestWithoutLinkLayer(t *testing.T) {
	t.Parallel()
	syn := &layers.TCP{SrcPort: 40000, DstPort: 80, SYN: true}
	for want, raw := range map[string][]byte{
		"172.17.0.2:40000 > 198.51.100.7:80 tcp [S]": frame(t, ipv4(layers.IPProtocolTCP), syn),
		"[fd00::2]:40000 > [2001:db8::7]:80 tcp [S]": frame(t, ipv6(layers.IPProtocolTCP), syn),
		"ipv4 truncated header":                      {0x45},
		"":                                           {},
	} {
		if got := packet.OfIP(raw).String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestTruncated covers every beginning of a frame, and bytes that are none.
func TestTruncated(t *testing.T) {
	t.Parallel()
	whole := frame(t, ethernet4, ipv4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 40000, DstPort: 80, SYN: true})
	for n := range whole {
		s := packet.Of(whole[:n])
		switch line := s.String(); {
		case n < 14 && line != "":
			t.Errorf("%d bytes: %s", n, line)
		case n >= 34 && s.Source.Addr().String() != "172.17.0.2":
			t.Errorf("%d bytes: from %s", n, s.Source)
		}
	}
	for _, protocol := range []layers.IPProtocol{layers.IPProtocolTCP, layers.IPProtocolUDP, layers.IPProtocolICMPv4} {
		short := packet.Of(frame(t, ethernet4, ipv4(protocol), gopacket.Payload("sho"))).String()
		if want := "172.17.0.2 > 198.51.100.7 " + map[layers.IPProtocol]string{6: "tcp", 17: "udp", 1: "icmp"}[protocol]; short != want {
			t.Errorf("got %q, want %q", short, want)
		}
	}
}

// FuzzOf looks for bytes that end the program.
func FuzzOf(f *testing.F) {
	f.Add([]byte{0: 2, 12: 8, 14: 0x45, 60: 0})
	f.Fuzz(func(_ *testing.T, raw []byte) { _ = packet.Of(raw).String() + packet.OfIP(raw).String() })
}
