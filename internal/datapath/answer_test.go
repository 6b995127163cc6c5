package datapath_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// told is the error that the sender of a frame gets from the host: time
// exceeded, or with an MTU fragmentation needed.
func told(sent frame, from netip.Addr, mtu uint16) []byte {
	raw := sent.bytes()
	quoted := raw[14:min(len(raw), transportAt(raw)+20)]
	message := append([]byte{11, 0, 0, 0, 0, 0, 0, 0}, quoted...)
	if mtu > 0 {
		message[0], message[1] = 3, 4
		binary.BigEndian.PutUint16(message[6:], mtu)
	}
	binary.BigEndian.PutUint16(message[2:], ^sum16(message))
	header := []byte{0x45, 0xc0, 0, 0, 0, 0, 0, 0, 64, byte(layers.IPProtocolICMPv4), 0, 0}
	binary.BigEndian.PutUint16(header[2:], uint16(20+len(message)))
	header = append(append(header, from.AsSlice()...), sent.src.AsSlice()...)
	binary.BigEndian.PutUint16(header[10:], ^sum16(header))
	return slices.Concat(sent.srcMAC, sent.dstMAC, []byte{0x08, 0x00}, header, message)
}

// expectTold asserts that a frame is dropped, that its reason is counted, and
// that its sender is told, byte by byte.
func (f *fixture) expectTold(what string, hook datapath.Hook, device int, sent frame, from netip.Addr, mtu uint16) {
	f.t.Helper()
	want := f.drops()
	if mtu > 0 {
		want[reasons.MtuExceeded]++
	} else {
		want[reasons.TtlExceeded]++
	}
	verdict, out := f.run(hook, skb{Ifindex: uint32(device)}, sent.bytes())
	expectEqual(f.t, what+", drops", f.drops(), want)
	if error := told(sent, from, mtu); verdict != redirect || !slices.Equal(out, error) {
		f.t.Errorf("%s: verdict %d\ngot  %x\nwant %x", what, int32(verdict), out, error)
	}
}

// TestTimeExceeded covers packets whose TTL ends at the host (RFC 1812
// 5.3.1): the gateway says so to a container.
func TestTimeExceeded(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	short := f.a.udp(1, remoteAddrPort(53))
	short.payload = nil
	options := f.a.tcp(1, remoteAddrPort(443), syn)
	options.options = append([]byte{148, 40}, make([]byte, 38)...)
	for name, sent := range map[string]frame{
		"udp":         f.a.udp(1, remoteAddrPort(53)),
		"no payload":  short,
		"tcp":         f.a.tcp(1, remoteAddrPort(443), syn),
		"options":     options,
		"echo":        f.a.echo(1, remoteAddr),
		"a published": f.b.tcp(1, hostAddrPort(published), syn),
	} {
		device := f.a.ifindex
		if sent.src == f.b.addr {
			device = f.b.ifindex
		}
		for _, ttl := range []uint8{0, 1} {
			if sent.ttl = ttl; name == "a published" && ttl == 0 {
				continue // the first one has opened the flow
			}
			f.expectTold(name, datapath.HookContainer, device, sent, gatewayOne, 0)
		}
	}
}

// TestFragmentationNeeded covers packets that the uplink's MTU does not take
// (RFC 1191 section 4).
func TestFragmentationNeeded(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	sent := f.a.udp(1, remoteAddrPort(53))
	sent.payload = make([]byte, 1500-28+1)
	f.expectTold("udp", datapath.HookContainer, f.a.ifindex, sent, gatewayOne, 1500)
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
	sent.payload = sent.payload[1:]
	if verdict, _ := f.fromContainer(f.a, sent); verdict != redirect {
		t.Errorf("a packet of the MTU's size: verdict %d", int32(verdict))
	}
}

// TestSegmentsFitTheMTU covers packets that the device cuts: each segment has
// to fit, the packet need not.
func TestSegmentsFitTheMTU(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	for _, test := range []struct {
		sent    frame
		segment uint32
		fits    bool
	}{
		{f.a.tcp(1, remoteAddrPort(443), syn), 1460, true},
		{f.a.tcp(1, remoteAddrPort(443), syn), 1461, false},
		{f.a.udp(1, remoteAddrPort(443)), 1472, true},
		{f.a.udp(1, remoteAddrPort(443)), 1473, false},
		{f.a.udp(1, remoteAddrPort(443)), 0, false},
	} {
		test.sent.payload = make([]byte, 3000)
		before := f.drops()
		if !test.fits {
			before[reasons.MtuExceeded]++
		}
		f.run(datapath.HookContainer, skb{Ifindex: uint32(f.a.ifindex), GSOSize: test.segment}, test.sent.bytes())
		expectEqual(t, "drops", f.drops(), before)
	}
}

// TestNobodyIsTold covers what gets no error (RFC 1122 3.2.2), and senders
// that have had their share.
func TestNobodyIsTold(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	uplink := skb{Ifindex: uint32(f.uplink)}
	sent := client.udp(40000, hostAddrPort(published))
	f.fromOutside(sent)
	// An error about the flow, whose own TTL ends here.
	e := f.a.errorAbout(sent.hop().to(f.a.at(target)))
	e.ttl = 1
	f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(f.a.ifindex)}, e.bytes(), reasons.TtlExceeded)
	for _, src := range []string{"224.0.0.1", "127.0.0.1", "255.255.255.255", "0.0.0.0"} {
		strange := sent.from(netip.AddrPortFrom(netip.MustParseAddr(src), 1))
		strange.ttl = 1
		f.expectDrop(datapath.HookUplink, uplink, strange.bytes(), reasons.Martian)
	}
	// Outside has had more than its share; each container has its own.
	f.useUpAnswers(0)
	sent.ttl = 1
	f.expectDrop(datapath.HookUplink, uplink, sent.bytes(), reasons.TtlExceeded)
	dead := f.b.udp(1, remoteAddrPort(53))
	dead.ttl = 1
	f.expectTold("another sender", datapath.HookContainer, f.b.ifindex, dead, gatewayOne, 0)
	var first, second uint64
	limits := f.loader.Maps()["answer_limits"]
	must(t, limits.Lookup(f.b.index, &first))
	f.expectTold("another sender again", datapath.HookContainer, f.b.ifindex, dead, gatewayOne, 0)
	must(t, limits.Lookup(f.b.index, &second))
	if second < first+uint64(time.Millisecond) {
		t.Errorf("an error uses %d ns of its sender's share, want a millisecond", second-first)
	}
}

// useUpAnswers leaves a sender, 0 for all outside, without answers for a while.
func (f *fixture) useUpAnswers(sender uint32) {
	f.t.Helper()
	must(f.t, f.loader.Maps()["answer_limits"].Put(sender, uint64(time.Duration(uptime(f.t)+100)*time.Second)))
}
