package datapath_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// big is a packet of more than 65,535 bytes as devices with a larger
// gso_max_size or gro_max_size have it: its header's length is zero.
func big(f frame) []byte {
	raw := f.bytes()
	if f.src.Is6() {
		raw[18], raw[19] = 0, 0
		return raw
	}
	sum := uint32(^binary.BigEndian.Uint16(raw[24:])) + uint32(^binary.BigEndian.Uint16(raw[16:]))
	binary.BigEndian.PutUint16(raw[24:], ^uint16(sum+sum>>16))
	raw[16], raw[17] = 0, 0
	return raw
}

// jumbo puts the option of RFC 2675 in front, as the kernel does for itself.
func jumbo(f frame) frame {
	if !f.src.Is6() {
		return f
	}
	return withExtensions(f, extension{layers.IPProtocolIPv6HopByHop, []byte{0xc2, 4, 0, 1, 0x80, 0}})
}

// TestBigTCP covers packets whose length no header can say, in both directions.
func TestBigTCP(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		request := f.client.tcp(40000, at(f.host, published), syn)
		f.fromOutside(request)
		request = withPayload(withFlags(request, ack), make([]byte, 3000))
		inside := request.hop().to(f.a.at(target)).delivered(f.a)
		answer := withPayload(inside.answer(f.a.station, ack), make([]byte, 3000))
		outside := answer.hop().from(at(f.host, published))
		for _, form := range []func(frame) frame{jumbo, func(f frame) frame { return f }} {
			got := f.execute(0, datapath.HookUplink, skb{Ifindex: uint32(f.uplink), GSOSize: 1200}, big(form(request)))
			if got.code != redirect || !slices.Equal(got.raw, big(form(inside))) {
				t.Errorf("in: verdict %d, want it delivered", int32(got.code))
			}
			got = f.execute(0, datapath.HookContainer, skb{Ifindex: uint32(f.a.ifindex), GSOSize: 1200}, big(form(answer)))
			if got.code != redirect || !slices.Equal(got.raw, big(form(outside))) {
				t.Errorf("out: verdict %d, want it sent", int32(got.code))
			}
		}
	})
}

// TestHugeSegments covers a container that asks for segments which are, with
// their headers, longer than 16 bits can say: devices have died of such.
func TestHugeSegments(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for _, size := range []uint32{65535, 65500, 9000} {
			sent := withPayload(f.a.tcp(1, f.remote.at(443), syn), make([]byte, 3000))
			before := f.drops()
			before[reasons.MtuExceeded]++
			f.runAnswered(datapath.HookContainer, skb{Ifindex: uint32(f.a.ifindex), GSOSize: size}, sent.bytes())
			expectEqual(t, "drops", f.drops(), before)
		}
	})
}
