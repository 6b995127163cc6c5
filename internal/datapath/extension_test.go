package datapath_test

import (
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// TestExtensionsBehindTheEnd covers IPv6 headers that reach beyond the packet,
// where there is padding (RFC 8200 4): nothing is read from them.
func TestExtensionsBehindTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, loader.Config{})
	w.reset()
	for name, kind := range map[string]layers.IPProtocol{
		"fragment":            layers.IPProtocolIPv6Fragment,
		"destination options": layers.IPProtocolIPv6Destination,
	} {
		f := w.a.udp(40000, remoteAddrPort(53))
		f.src, f.dst, f.protocol = six(f.src), six(f.dst), kind
		f.raw = []byte{uint8(layers.IPProtocolICMPv6), 0, 0xff, 0xf8}
		f.padding = make([]byte, 60)
		want := w.drops()
		want[reasons.ExtensionHeaders]++
		got := w.execute(0, datapath.HookContainer, skb{Ifindex: uint32(w.a.ifindex)}, f.bytes())
		if got.code != shot {
			t.Errorf("%s: verdict %d", name, int32(got.code))
		}
		expectEqual(t, name+", drops", w.drops(), want)
	}
}
