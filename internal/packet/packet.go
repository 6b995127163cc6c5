// Package packet says in one line what a captured frame is, in the manner of
// tcpdump. It reads what there is: a frame is often dropped for what is wrong
// with it.
package packet

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Summary is what a frame says of itself.
type Summary struct {
	SourceMAC, DestinationMAC string
	// Source and Destination are those of IP; a port is 0 where there is none.
	Source, Destination netip.AddrPort
	Protocol            string // "tcp", "udp", "icmp", "icmp6", "arp", …; "" when it cannot be told
	details             []string
}

// Of reads the beginning of an Ethernet frame, as much as was captured.
func Of(captured []byte) Summary {
	var s Summary
	s.addEthernet(captured)
	return s
}

// OfIP reads the beginning of a packet of a device without a link layer.
func OfIP(captured []byte) Summary {
	var s Summary
	switch {
	case len(captured) == 0:
	case captured[0]>>4 == 4:
		s.addIPv4(captured)
	case captured[0]>>4 == 6:
		s.addIPv6(captured)
	}
	return s
}

// String is one line: addresses, protocol, and what the protocol is about.
func (s Summary) String() string {
	var words []string
	switch {
	case s.Source.IsValid():
		words = append(words, endpoint(s.Source), ">", endpoint(s.Destination))
	case s.SourceMAC != "" && s.Protocol != arpName:
		words = append(words, s.SourceMAC, ">", s.DestinationMAC)
	}
	if s.Protocol != "" {
		words = append(words, s.Protocol)
	}
	return strings.Join(append(words, s.details...), " ")
}

func endpoint(a netip.AddrPort) string {
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}

// say adds what the protocol is about.
func (s *Summary) say(format string, args ...any) {
	s.details = append(s.details, fmt.Sprintf(format, args...))
}

// take reads a header whose fields are in network byte order, and returns what
// follows it; false when there is not enough.
func take[T any](b []byte) (header T, rest []byte, ok bool) {
	n, err := binary.Decode(b, binary.BigEndian, &header)
	if err != nil {
		return header, nil, false
	}
	return header, b[n:], true
}

// macAddr prints like net.HardwareAddr.
type macAddr [6]byte

func (m macAddr) String() string { return net.HardwareAddr(m[:]).String() }

// ethernet is the header of IEEE 802.3.
type ethernet struct {
	Destination, Source macAddr
	Type                uint16
}

// vlanTag is that of IEEE 802.1Q, behind the addresses.
type vlanTag struct{ Control, Type uint16 }

func (s *Summary) addEthernet(b []byte) {
	header, rest, ok := take[ethernet](b)
	if !ok {
		return
	}
	s.SourceMAC, s.DestinationMAC = header.Source.String(), header.Destination.String()
	switch header.Type {
	case unix.ETH_P_IP:
		s.addIPv4(rest)
	case unix.ETH_P_IPV6:
		s.addIPv6(rest)
	case unix.ETH_P_ARP:
		s.addARP(rest)
	case unix.ETH_P_8021Q:
		tag, _, _ := take[vlanTag](rest)
		s.Protocol = fmt.Sprintf("vlan %d ethertype %#04x", tag.Control&0xfff, tag.Type)
	default:
		s.Protocol = fmt.Sprintf("ethertype %#04x", header.Type)
	}
}

// arp is a message of RFC 826, for Ethernet and IPv4.
type arp struct {
	Hardware, Protocol       uint16
	HardwareLen, ProtocolLen uint8
	Operation                uint16
	SenderMAC                macAddr
	Sender                   [4]byte
	TargetMAC                macAddr
	Target                   [4]byte
}

const arpName = "arp"

func (s *Summary) addARP(b []byte) {
	s.Protocol = arpName
	message, _, ok := take[arp](b)
	if !ok || message.Protocol != unix.ETH_P_IP {
		s.say("from %s", s.SourceMAC)
		return
	}
	sender, target := netip.AddrFrom4(message.Sender), netip.AddrFrom4(message.Target)
	switch message.Operation {
	case 1:
		s.say("who-has %s tell %s (%s)", target, sender, message.SenderMAC)
	case 2:
		s.say("reply %s is-at %s", sender, message.SenderMAC)
	default:
		s.say("operation %d of %s (%s)", message.Operation, sender, message.SenderMAC)
	}
}
