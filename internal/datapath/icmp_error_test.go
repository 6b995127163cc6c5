package datapath_test

import (
	"net/netip"
	"slices"

	"github.com/sluice-net/sluice/internal/datapath"
)

// icmpError is an error from a station about a frame: as much of it as fits.
type icmpError struct {
	station
	to         netip.Addr
	kind, code uint8
	about      frame
	quoted     int // bytes from the quoted transport header on; 0 for all
	mtu        uint16
	ttl        uint8
	extensions []extension // of IPv6
}

// cuts are how much of a packet errors quote: all of it, the eight bytes that
// RFC 792 asks for, and up to behind TCP's checksum.
var cuts = []int{0, 8, 20}

// errorAbout is an error that a station sends to whoever sent the frame.
func (s station) errorAbout(about frame) icmpError {
	types := castOf(about.src).icmp
	return icmpError{station: s, to: about.src, kind: types.unreachable, code: types.port, about: about, ttl: 64}
}

func (e icmpError) bytes() []byte { return e.frame().bytes() }

func (e icmpError) frame() frame {
	about := e.about.bytes()
	quoted := about[ethernet:]
	if e.quoted > 0 {
		quoted = about[ethernet : transportAt(about)+e.quoted]
	}
	f := e.station.message(e.to, e.kind, e.code, withMTU(e.mtu, quoted))
	f.ttl, f.extensions = e.ttl, e.extensions
	return f
}

// withMTU is the rest of an ICMP error, whose last two bytes before what it
// quotes are an MTU in both families.
func withMTU(mtu uint16, quoted []byte) []byte {
	return append([]byte{0, 0, byte(mtu >> 8), byte(mtu)}, quoted...)
}

// translated is an error after its translation: with other addresses and about
// what the sender had sent.
func (e icmpError) translated(from, to netip.Addr, about frame, hops uint8) icmpError {
	e.addr, e.to, e.about, e.ttl = from, to, about, e.ttl-hops
	return e
}

// errorFrom sends an error from a container.
func (f *fixture) errorFrom(from endpoint, e icmpError) (uint32, []byte) {
	f.t.Helper()
	return f.run(datapath.HookContainer, skb{Ifindex: uint32(from.ifindex)}, e.bytes())
}

// errorFromOutside sends an error to the uplink.
func (f *fixture) errorFromOutside(e icmpError) (uint32, []byte) {
	f.t.Helper()
	return f.run(datapath.HookUplink, skb{Ifindex: uint32(f.uplink)}, e.bytes())
}

// expectError asserts the verdict, and the error that leaves, byte by byte.
func (f *fixture) expectError(what string, verdict uint32, out []byte, wantVerdict uint32, want icmpError) {
	f.t.Helper()
	if verdict != wantVerdict {
		f.t.Fatalf("%s: verdict %d, want %d; drops: %v", what, int32(verdict), int32(wantVerdict), f.drops())
	}
	if !slices.Equal(out, want.bytes()) {
		f.t.Fatalf("%s:\ngot  %x\nwant %x", what, out, want.bytes())
	}
}
