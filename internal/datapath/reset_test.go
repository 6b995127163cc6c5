package datapath_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// resetOf is what answers a segment of no connection (RFC 9293 3.10.7.1).
func resetOf(sent frame) []byte {
	raw := sent.bytes()
	tcp := raw[transportAt(raw):]
	sequence, acknowledged := tcp[4:8], tcp[8:12]
	segment := slices.Concat(tcp[2:4], tcp[:2], acknowledged, make([]byte, 4), []byte{5 << 4, rst, 0, 0, 0, 0, 0, 0})
	if sent.flags&ack == 0 {
		length := uint32(len(sent.payload))
		for _, flag := range []uint8{syn, fin} {
			if sent.flags&flag != 0 {
				length++
			}
		}
		clear(segment[4:8])
		binary.BigEndian.PutUint32(segment[8:], binary.BigEndian.Uint32(sequence)+length)
		segment[13] |= ack
	}
	answer := station{sent.dstMAC, sent.srcMAC, sent.dst}.frame(layers.IPProtocolTCP, 0, at(sent.src, 0))
	pseudo := pseudoHeader(slices.Concat(sent.dst.AsSlice(), sent.src.AsSlice()), layers.IPProtocolTCP, len(segment))
	binary.BigEndian.PutUint16(segment[16:], ^sum16(pseudo, segment))
	answer.raw = segment
	return asControl(answer.bytes())
}

// expectReset asserts that a segment is dropped for a reason, and that its sender
// gets a reset, byte by byte.
func (f *fixture) expectReset(what string, hook datapath.Hook, device int, sent frame, reason reasons.Reason) {
	f.t.Helper()
	want := f.drops()
	want[reason]++
	verdict, out := f.runAnswered(hook, skb{Ifindex: uint32(device)}, sent.bytes())
	expectEqual(f.t, what+", drops", f.drops(), want)
	if reset := resetOf(sent); verdict != redirect || !slices.Equal(out, reset) {
		f.t.Errorf("%s: verdict %d\ngot  %x\nwant %x", what, int32(verdict), out, reset)
	}
}

// TestReset covers segments that no stack will ever see.
func TestReset(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		f.alias(f.a)
		host := station{gatewayMAC, vipMAC, f.gatewayOne}
		for name, flags := range map[string]uint8{
			"ACK": ack, "SYN-ACK": syn | ack, "FIN-ACK": fin | ack, "data": psh | ack, "SYN and FIN": syn | fin, "FIN": fin, "nothing": 0,
		} {
			options := withMoreHeaders(f.b.tcp(1, f.remote.at(443), flags))
			f.expectReset(name+", to the outside", datapath.HookContainer, f.b.ifindex, f.b.tcp(1, f.remote.at(443), flags), reasons.NoFlow)
			f.expectReset(name+", with more headers", datapath.HookContainer, f.b.ifindex, options, reasons.NoFlow)
			f.expectReset(name+", to an alias", datapath.HookContainer, f.b.ifindex, f.b.tcp(1, at(f.vip, 80), flags), reasons.NoFlow)
			f.expectReset(name+", to an alias from the host", datapath.HookBridge, f.bridge, host.tcp(1, at(f.vip, 80), flags), reasons.NoFlow)
		}
		f.expectReset("to a neighbour that is gone", datapath.HookContainer, f.a.ifindex, f.a.tcp(1, at(f.nobody, 80), ack), reasons.NoEndpoint)
		long := withPayload(f.b.tcp(1, f.remote.at(443), 0), make([]byte, 1400))
		f.expectReset("a long one", datapath.HookContainer, f.b.ifindex, long, reasons.NoFlow)
		f.expectNoFlows()
	})
}

// TestNoReset covers what gets none: a reset, senders that have had their share, and
// everybody while flows are being carried over, which ends by itself.
func TestNoReset(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		f.dropsFrom(f.a, f.a.tcp(1, at(f.nobody, 80), syn), reasons.NoEndpoint)
		for _, flags := range []uint8{rst, rst | ack, rst | syn} {
			f.dropsFrom(f.a, f.a.tcp(1, f.remote.at(443), flags), reasons.NoFlow)
		}
		f.dropsFrom(f.a, f.a.icmp(f.cast.icmp.reply, 1, f.remote.addr), reasons.NoFlow)
		f.carrying(100)
		f.dropsFrom(f.a, f.a.tcp(1, f.remote.at(443), ack), reasons.NoFlow)
		f.carrying(-1)
		f.expectReset("no longer", datapath.HookContainer, f.a.ifindex, f.a.tcp(1, f.remote.at(443), ack), reasons.NoFlow)
		f.useUpAnswers(f.a.index)
		f.dropsFrom(f.a, f.a.tcp(1, f.remote.at(443), ack), reasons.NoFlow)
	})
}

// carrying lets flows be carried over from another layout for so many seconds from now on.
func (f *fixture) carrying(seconds int) {
	f.t.Helper()
	f.write("carrying_until", uint32(0), uint64(time.Duration(int(uptime(f.t))+seconds)*time.Second))
}

// TestStackWaitsForFlows covers what the host's stack would answer by a reset while
// flows are being carried over: segments of no flow that no socket of the host takes.
func TestStackWaitsForFlows(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		passes := func(what string, sent frame) {
			t.Helper()
			verdict, out := f.fromOutside(sent)
			f.expect(what, verdict, out, next, sent)
		}
		ofFlow := f.client.tcp(40000, at(f.host, published), ack)
		ofSocket := f.client.tcp(40000, at(f.host, 2222), ack)
		socket, err := openSocket(model.Socket{Protocol: unix.IPPROTO_TCP, Local: at(f.host, 2222)})
		must(t, err)
		defer socket.Close()
		for _, flags := range []uint8{ack, syn | ack, psh | ack, fin | ack, rst} {
			ofFlow.flags = flags
			f.carrying(100)
			f.dropsFromOutside(ofFlow, reasons.NoFlow)
			f.carrying(-1)
			passes("when all are carried", ofFlow)
		}
		f.carrying(100)
		f.dropsFrom(f.a, f.a.tcp(40000, at(f.host, published), ack), reasons.NoFlow)
		passes("of a socket of the host", ofSocket)
		passes("of another program's translation", f.client.tcp(40000, at(f.host, 40000), ack))
		passes("for nobody, but opening", f.client.tcp(40000, at(f.host, 2223), syn))
		passes("of UDP", f.client.udp(40000, at(f.host, 2223)))
		f.expectNoFlows()
	})
}
