package packet

import (
	"fmt"
	"net/netip"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// The header of UDP, and the beginning of that of TCP.
type (
	udp struct{ Source, Destination, Length, Checksum uint16 }
	tcp struct {
		Source, Destination uint16
		Sequence, Ack       uint32
		Offset, Flags       uint8
	}
)

// addTransport reads what is behind the network header.
func (s *Summary) addTransport(protocol int, b []byte) {
	switch protocol {
	case unix.IPPROTO_TCP:
		if header, _, ok := take[tcp](b); ok {
			s.setPorts(header.Source, header.Destination)
			s.say("[%s]", flags(header.Flags))
		} else if header, _, ok := take[udp](b); ok { // a quote may have eight bytes (RFC 792)
			s.setPorts(header.Source, header.Destination)
		}
	case unix.IPPROTO_UDP:
		if header, _, ok := take[udp](b); ok {
			s.setPorts(header.Source, header.Destination)
		}
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		s.addICMP(protocol, b)
	}
}

func (s *Summary) setPorts(source, destination uint16) {
	s.Source = netip.AddrPortFrom(s.Source.Addr(), source)
	s.Destination = netip.AddrPortFrom(s.Destination.Addr(), destination)
}

// flags are TCP's, in tcpdump's letters.
func flags(set uint8) (letters string) {
	for bit, letter := range "FSRP.UEW" {
		if set&(1<<bit) != 0 {
			letters += string(letter)
		}
	}
	if letters == "" {
		return "none"
	}
	return letters
}

func (s *Summary) addICMP(protocol int, b []byte) {
	message, err := icmp.ParseMessage(protocol, b)
	if err != nil {
		return
	}
	kind := fmt.Sprint(message.Type)
	if kind == "<nil>" {
		kind = fmt.Sprintf("type %d", b[0])
	}
	s.say("%s", kind)
	if message.Code != 0 {
		s.say("code %d", message.Code)
	}
	switch body := message.Body.(type) {
	case *icmp.Echo:
		s.say("id %d seq %d", body.ID, body.Seq)
	case *icmp.DstUnreach:
		s.addQuote(protocol, body.Data)
	case *icmp.TimeExceeded:
		s.addQuote(protocol, body.Data)
	case *icmp.ParamProb:
		s.addQuote(protocol, body.Data)
	case *icmp.PacketTooBig:
		s.say("mtu %d", body.MTU)
		s.addQuote(protocol, body.Data)
	case *icmp.RawBody:
		if message.Type == ipv6.ICMPTypeNeighborSolicitation || message.Type == ipv6.ICMPTypeNeighborAdvertisement {
			s.addTarget(body.Data)
		}
	}
	if message.Type == ipv4.ICMPTypeDestinationUnreachable && message.Code == fragmentationNeeded {
		s.say("mtu %d", int(b[6])<<8|int(b[7])) // RFC 1191, section 4
	}
}

// fragmentationNeeded is a code of ICMP's destination unreachable.
const fragmentationNeeded = 4

// addQuote says which packet an ICMP error is about.
func (s *Summary) addQuote(protocol int, quote []byte) {
	var about Summary
	if protocol == unix.IPPROTO_ICMP {
		about.addIPv4(quote)
	} else {
		about.addIPv6(quote)
	}
	if about.Source.IsValid() {
		s.say("about (%s)", about)
	}
}

// neighbour is the body of a neighbour solicitation or advertisement (RFC 4861,
// section 4.3).
type neighbour struct {
	Flags  uint32
	Target [16]byte
}

func (s *Summary) addTarget(b []byte) {
	if body, _, ok := take[neighbour](b); ok {
		s.say("target %s", netip.AddrFrom16(body.Target))
	}
}
