package datapath_test

import (
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
)

// deviceHints is DEVICE_HINTS of bpf/types.h.
const deviceHints = 4096

// TestSenderIsNoHint: whoever a hint leads to, a packet is its device's.
func TestSenderIsNoHint(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		hints, slot := f.loader.Maps()["device_hints"], uint32(f.a.ifindex)%deviceHints
		sent := f.a.udp(40000, f.b.at(53))
		for name, hint := range map[string]uint32{
			"nobody": 0, "another": f.b.index, "another network's": f.c.index, "itself": f.a.index, "none that can be": 1 << 30,
		} {
			must(t, hints.Put(slot, hint))
			code, out := f.fromContainer(f.a, sent)
			f.expect(name, code, out, redirect, sent.delivered(f.b))
			var now uint32
			must(t, hints.Lookup(slot, &now))
			expectEqual(t, "the hint after "+name, now, f.a.index)
		}
		must(t, f.maps.ClearEndpoint(f.a.index))
		if code, out := f.fromContainer(f.a, sent); code == redirect {
			t.Errorf("a packet of an endpoint that is gone is redirected: %x", out)
		}
		if got := f.packets()[count{datapath.HookContainer, datapath.VerdictDrop}]; got != 1 {
			t.Errorf("%d packets dropped, want 1", got)
		}
	})
}
