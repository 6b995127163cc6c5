package datapath_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// told is the error that the sender of a frame gets from the host: time
// exceeded, or with an MTU fragmentation needed or packet too big.
func told(sent frame, from netip.Addr, mtu uint16) []byte {
	raw, types := sent.bytes(), castOf(sent.src).icmp
	kind, code := types.timeExceeded, uint8(0)
	if mtu > 0 {
		kind, code = types.tooBig, types.tooBigCode
	}
	quoted := raw[ethernet:min(len(raw), transportAt(raw)+20)]
	answer := station{sent.dstMAC, sent.srcMAC, from}.message(sent.src, kind, code, withMTU(mtu, quoted))
	return asControl(answer.bytes())
}

// asControl gives an IP frame the class of internetwork control, and an IPv4
// frame no identification.
func asControl(raw []byte) []byte {
	if isIPv6(raw) {
		raw[14] |= 0xc
		return raw
	}
	raw[15] = 0xc0
	copy(raw[18:], []byte{0, 0})
	copy(raw[24:], []byte{0, 0})
	binary.BigEndian.PutUint16(raw[24:], ^sum16(raw[14:34]))
	return raw
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
	verdict, out := f.runAnswered(hook, skb{Ifindex: uint32(device)}, sent.bytes())
	expectEqual(f.t, what+", drops", f.drops(), want)
	if error := told(sent, from, mtu); verdict != redirect || !slices.Equal(out, error) {
		f.t.Errorf("%s: verdict %d\ngot  %x\nwant %x", what, int32(verdict), out, error)
	}
}

// TestTimeExceeded covers packets whose TTL ends at the host (RFC 1812
// 5.3.1, RFC 4443 3.3): the gateway says so to a container.
func TestTimeExceeded(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		headers := withMoreHeaders(f.a.tcp(1, f.remote.at(443), syn))
		if f.cast == ipv4 {
			headers = withMostHeaders(headers)
		}
		for name, sent := range map[string]frame{
			"udp":         f.a.udp(1, f.remote.at(53)),
			"no payload":  withPayload(f.a.udp(1, f.remote.at(53)), nil),
			"tcp":         f.a.tcp(1, f.remote.at(443), syn),
			"headers":     headers,
			"echo":        f.a.echo(1, f.remote.addr),
			"a published": f.b.tcp(1, at(f.host, published), syn),
		} {
			device := f.a.ifindex
			if sent.src == f.b.addr {
				device = f.b.ifindex
			}
			for _, ttl := range []uint8{0, 1} {
				if sent.ttl = ttl; name == "a published" && ttl == 0 {
					continue // the first one has opened the flow
				}
				f.expectTold(name, datapath.HookContainer, device, sent, f.gatewayOne, 0)
			}
		}
	})
}

// TestFragmentationNeeded covers packets that the uplink's MTU does not take
// (RFC 1191 section 4, RFC 4443 3.2).
func TestFragmentationNeeded(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		sent := f.a.udp(1, f.remote.at(53))
		sent.payload = make([]byte, 1500-f.headerLength()-8+1)
		f.expectTold("udp", datapath.HookContainer, f.a.ifindex, sent, f.gatewayOne, 1500)
		f.expectNoFlows()
		sent.payload = sent.payload[1:]
		if verdict, _ := f.fromContainer(f.a, sent); verdict != redirect {
			t.Errorf("a packet of the MTU's size: verdict %d", int32(verdict))
		}
	})
}

// TestSegmentsFitTheMTU covers packets that the device cuts: each segment has
// to fit, the packet need not.
func TestSegmentsFitTheMTU(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		room := 1500 - uint32(f.headerLength())
		for _, test := range []struct {
			sent    frame
			segment uint32
			fits    bool
		}{
			{f.a.tcp(1, f.remote.at(443), syn), room - 20, true},
			{f.a.tcp(1, f.remote.at(443), syn), room - 20 + 1, false},
			{f.a.udp(1, f.remote.at(443)), room - 8, true},
			{f.a.udp(1, f.remote.at(443)), room - 8 + 1, false},
			{f.a.udp(1, f.remote.at(443)), 0, false},
		} {
			test.sent.payload = make([]byte, 3000)
			before, run := f.drops(), f.run
			if !test.fits {
				before[reasons.MtuExceeded]++
				run = f.runAnswered
			}
			run(datapath.HookContainer, skb{Ifindex: uint32(f.a.ifindex), GSOSize: test.segment}, test.sent.bytes())
			expectEqual(t, "drops", f.drops(), before)
		}
	})
}

// TestNobodyIsTold covers what gets no error (RFC 1122 3.2.2, RFC 4443
// 2.4), and senders
// that have had their share.
func TestNobodyIsTold(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		sent := f.client.udp(40000, at(f.host, published))
		f.fromOutside(sent)
		// An error about the flow, whose own TTL ends here.
		e := f.a.errorAbout(sent.hop().to(f.a.at(target)))
		e.ttl = 1
		f.dropsFrom(f.a, e.frame(), reasons.TtlExceeded)
		for _, src := range append(f.groups, f.martians...) {
			strange := withTTL(sent.from(at(src, 1)), 1)
			f.dropsFromOutside(strange, reasons.Martian)
		}
		// Outside has had more than its share; each container has its own.
		f.useUpAnswers(0)
		sent.ttl = 1
		f.dropsFromOutside(sent, reasons.TtlExceeded)
		dead := withTTL(f.b.udp(1, f.remote.at(53)), 1)
		f.expectTold("another sender", datapath.HookContainer, f.b.ifindex, dead, f.gatewayOne, 0)
		var first, second uint64
		limits := f.loader.Maps()["answer_limits"]
		must(t, limits.Lookup(f.b.index, &first))
		f.expectTold("another sender again", datapath.HookContainer, f.b.ifindex, dead, f.gatewayOne, 0)
		must(t, limits.Lookup(f.b.index, &second))
		if second < first+uint64(time.Millisecond) {
			t.Errorf("an error uses %d ns of its sender's share, want a millisecond", second-first)
		}
	})
}

// useUpAnswers leaves a sender, 0 for all outside, without answers for a while.
func (f *fixture) useUpAnswers(sender uint32) {
	f.t.Helper()
	f.write("answer_limits", sender, uint64(time.Duration(uptime(f.t)+100)*time.Second))
}
