package model

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
)

// Frame is a packet where a hook sees it.
type Frame struct {
	Hook    datapath.Hook
	Ifindex uint32
	Raw     []byte // from the Ethernet header on
	// Forwarded says that the stack has it from another device.
	Forwarded bool
	GSO       int // the payload of a segment, 0 for a packet that is not cut
}

// Outcome is what has to become of a frame.
type Outcome struct {
	Verdict datapath.Verdict
	Reason  reasons.Reason // of a drop
	// Told says that the packet has become an error, or a reset, to its sender.
	Told bool
	// Answered says so of what asks for a neighbour, too: the frame has become
	// another one, to its sender.
	Answered bool
	// Raw is the frame that leaves; its checksums are those of the one that
	// came, see Sums, but for those at the offsets of Fresh, which are made anew.
	// It means nothing when the packet is dropped in silence.
	Raw   []byte
	Fresh []int
}

type verdict struct {
	datapath.Verdict
	reason reasons.Reason
}

var (
	pass     = verdict{Verdict: datapath.VerdictPass}
	redirect = verdict{Verdict: datapath.VerdictRedirect}
)

func drop(reason reasons.Reason) verdict { return verdict{datapath.VerdictDrop, reason} }

// Receive takes a frame in: it decides, changes the state and counts.
func (m *Model) Receive(f Frame) Outcome {
	p := &packet{raw: slices.Clone(f.Raw), gso: f.GSO, ethertype: be16(f.Raw[12:])}
	v := m.decide(f, p)
	m.Packets[Count{f.Hook, v.Verdict}]++
	o := Outcome{Verdict: v.Verdict, Reason: v.reason}
	if v.Verdict == datapath.VerdictDrop {
		m.Drops[v.reason]++
		o.Told = m.tell(p, v.reason)
	}
	o.Raw, o.Fresh, o.Answered = p.raw, p.fresh, p.answered
	return o
}

func (m *Model) decide(f Frame, p *packet) verdict {
	switch f.Hook {
	case datapath.HookContainer:
		return m.container(p, f.Ifindex)
	case datapath.HookUplink:
		return m.uplink(p, f.Ifindex)
	case datapath.HookBridge:
		return m.bridge(p, f.Forwarded)
	case datapath.HookResolver:
		return m.resolver(p)
	}
	return pass
}

// tell turns a dropped packet into what its sender is told, and says whether
// that is anything.
func (m *Model) tell(p *packet, reason reasons.Reason) bool {
	switch {
	case m.Silent[p.sender]:
		return false
	case reason == reasons.TtlExceeded || reason == reasons.MtuExceeded:
		return p.becomeError(reason)
	case reason == reasons.NoFlow || reason == reasons.NoEndpoint && !p.opens():
		return p.becomeReset()
	}
	return false
}

// becomeReset is for a segment of no connection (RFC 9293 3.10.7.1).
func (p *packet) becomeReset() bool {
	if p.protocol != unix.IPPROTO_TCP || p.later || p.flags&tcpRST != 0 {
		return false
	}
	tcp := p.raw[p.transport:p.end]
	reset := slices.Concat(tcp[2:4], tcp[:2], tcp[8:12], make([]byte, 4), []byte{tcpHeader / 4 << 4, tcpRST, 0, 0, 0, 0, 0, 0})
	if p.flags&tcpACK == 0 {
		next := binary.BigEndian.Uint32(tcp[4:]) + uint32(len(tcp)-int(tcp[12]>>4)*4) + uint32(p.flags>>1&1) + uint32(p.flags&1)
		clear(reset[4:8])
		binary.BigEndian.PutUint32(reset[8:], next)
		reset[13] |= tcpACK
	}
	p.becomeAnswer(p.dst, unix.IPPROTO_TCP, 16, reset)
	return true
}

// becomeError is for a packet whose TTL has run out, or that does not fit. Not
// every one has an error: RFC 1122 3.2.2, RFC 4443 2.4.
func (p *packet) becomeError(reason reasons.Reason) bool {
	ip, quote := p.ip(), p.raw[p.network:min(p.end, p.transport+20)]
	switch aboutError := p.protocol == ip.icmp && !p.hasPorts; {
	case !p.self.IsValid(), p.src.IsUnspecified(), isLoopback(p.src), isMulticast(p.src), len(quote) > ip.quoteMost:
		return false
	case p.ethertype == etherIPv4 && (p.later || aboutError), p.ethertype == etherIPv6 && aboutError && !p.later:
		return false
	}
	message := append([]byte{ip.timeExceeded[0], ip.timeExceeded[1], 0, 0, 0, 0, 0, 0}, quote...)
	if reason == reasons.MtuExceeded {
		copy(message, ip.tooBig[:])
		binary.BigEndian.PutUint32(message[4:], uint32(p.mtu))
	}
	p.becomeAnswer(p.self, ip.icmp, 2, message)
	return true
}

// becomeAnswer is what goes back to the sender; checksum is the offset of the
// transport header's.
func (p *packet) becomeAnswer(from netip.Addr, protocol uint8, checksum int, message []byte) {
	ip := p.ip()
	p.raw = slices.Concat(p.raw[6:12], p.raw[:6], p.raw[12:14], ip.answer(protocol, len(message)), from.AsSlice(), p.src.AsSlice(), message)
	p.answered, p.fresh = true, []int{ethernetLength + ip.header + checksum}
	if p.ethertype == etherIPv4 {
		p.fresh = append(p.fresh, ethernetLength+10)
	}
}

// isLoopback says of what is IPv4's in disguise that it is loopback, too.
func isLoopback(addr netip.Addr) bool { return addr.IsLoopback() || addr.Is4In6() }

// isMulticast says so of what is reserved, and of the limited broadcast, too.
func isMulticast(addr netip.Addr) bool {
	return addr.Is4() && addr.As4()[0] >= 224 || !addr.Is4() && addr.As16()[0] == 0xff
}

// isMartian says whether an address has no place on a wire.
func isMartian(addr netip.Addr) bool {
	return isLoopback(addr) || addr.Is4() && addr.As4()[0] == 0 || addr.IsUnspecified()
}

// isLinkLocal says so of IPv6 alone: 169.254.0.0/16 is routed like others.
func isLinkLocal(addr netip.Addr) bool { return addr.Is6() && addr.IsLinkLocalUnicast() }
