package datapath_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// resetOf is what answers a segment of no connection (RFC 9293 3.10.7.1).
func resetOf(sent frame) []byte {
	raw := sent.bytes()
	at := transportAt(raw)
	sequence, acknowledged := raw[at+4:at+8], raw[at+8:at+12]
	segment := slices.Concat(raw[at+2:at+4], raw[at:at+2], acknowledged, make([]byte, 4), []byte{5 << 4, rst, 0, 0, 0, 0, 0, 0})
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
	addresses := slices.Concat(sent.dst.AsSlice(), sent.src.AsSlice())
	pseudo := slices.Concat(addresses, []byte{0, byte(layers.IPProtocolTCP), 0, byte(len(segment))})
	binary.BigEndian.PutUint16(segment[16:], ^sum16(pseudo, segment))
	header := append([]byte{0x45, 0xc0, 0, byte(20 + len(segment)), 0, 0, 0, 0, 64, byte(layers.IPProtocolTCP), 0, 0}, addresses...)
	binary.BigEndian.PutUint16(header[10:], ^sum16(header))
	return slices.Concat(sent.srcMAC, sent.dstMAC, []byte{0x08, 0x00}, header, segment)
}

// expectReset asserts that a segment is dropped for a reason, and that its sender
// gets a reset, byte by byte.
func (f *fixture) expectReset(what string, hook datapath.Hook, device int, sent frame, reason reasons.Reason) {
	f.t.Helper()
	want := f.drops()
	want[reason]++
	verdict, out := f.run(hook, skb{Ifindex: uint32(device)}, sent.bytes())
	expectEqual(f.t, what+", drops", f.drops(), want)
	if reset := resetOf(sent); verdict != redirect || !slices.Equal(out, reset) {
		f.t.Errorf("%s: verdict %d\ngot  %x\nwant %x", what, int32(verdict), out, reset)
	}
}

// TestReset covers segments that no stack will ever see.
func TestReset(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	f.alias(f.a)
	host := station{gatewayMAC, vipMAC, gatewayOne}
	for name, flags := range map[string]uint8{
		"ACK": ack, "SYN-ACK": syn | ack, "FIN-ACK": fin | ack, "data": psh | ack, "SYN and FIN": syn | fin, "FIN": fin, "nothing": 0,
	} {
		options := f.b.tcp(1, remoteAddrPort(443), flags)
		options.options = []byte{148, 4, 0, 0}
		f.expectReset(name+", to the outside", datapath.HookContainer, f.b.ifindex, f.b.tcp(1, remoteAddrPort(443), flags), reasons.NoFlow)
		f.expectReset(name+", with options", datapath.HookContainer, f.b.ifindex, options, reasons.NoFlow)
		f.expectReset(name+", to an alias", datapath.HookContainer, f.b.ifindex, f.b.tcp(1, vipAddrPort(80), flags), reasons.NoFlow)
		f.expectReset(name+", to an alias from the host", datapath.HookBridge, f.bridge, host.tcp(1, vipAddrPort(80), flags), reasons.NoFlow)
	}
	nobody := netip.MustParseAddrPort("172.17.0.99:80")
	f.expectReset("to a neighbour that is gone", datapath.HookContainer, f.a.ifindex, f.a.tcp(1, nobody, ack), reasons.NoEndpoint)
	long := f.b.tcp(1, remoteAddrPort(443), 0)
	long.payload = make([]byte, 1400)
	f.expectReset("a long one", datapath.HookContainer, f.b.ifindex, long, reasons.NoFlow)
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
}

// TestNoReset covers what gets none: a reset, and senders that have had their
// share.
func TestNoReset(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	from := skb{Ifindex: uint32(f.a.ifindex)}
	nobody := netip.MustParseAddrPort("172.17.0.99:80")
	f.expectDrop(datapath.HookContainer, from, f.a.tcp(1, nobody, syn).bytes(), reasons.NoEndpoint)
	for _, flags := range []uint8{rst, rst | ack, rst | syn} {
		f.expectDrop(datapath.HookContainer, from, f.a.tcp(1, remoteAddrPort(443), flags).bytes(), reasons.NoFlow)
	}
	echo := f.a.echo(1, remoteAddr).answer(f.a.station, 0).to(netip.AddrPortFrom(remoteAddr, 1)).from(netip.AddrPortFrom(f.a.addr, 1))
	f.expectDrop(datapath.HookContainer, from, echo.bytes(), reasons.NoFlow)
	f.useUpAnswers(f.a.index)
	f.expectDrop(datapath.HookContainer, from, f.a.tcp(1, remoteAddrPort(443), ack).bytes(), reasons.NoFlow)
}
