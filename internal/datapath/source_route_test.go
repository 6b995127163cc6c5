package datapath_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// Options of RFC 791, 3.1, with one stop.
var (
	looseRoute  = []byte{131, 7, 4, 198, 51, 100, 9, 0}
	strictRoute = []byte{137, 7, 4, 198, 51, 100, 9, 0}
	recordRoute = []byte{7, 7, 4, 0, 0, 0, 0, 0}
	routerAlert = []byte{148, 4, 0, 0}
)

// TestSourceRoutesAreRefused covers options wherever a container could put them.
func TestSourceRoutesAreRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv4, loader.Config{})
	for name, options := range map[string][]byte{
		"loose": looseRoute, "strict": strictRoute, "reached": {131, 7, 8, 198, 51, 100, 9, 0},
		"behind no operation": slices.Concat([]byte{1, 1, 1}, looseRoute[:7], []byte{0, 0}),
		"behind an option":    slices.Concat(routerAlert, strictRoute),
		"behind the longest":  slices.Concat([]byte{7, 36, 4}, make([]byte, 33), []byte{131, 3, 4, 0}),
	} {
		for _, to := range []netip.AddrPort{remoteAddrPort(443), f.b.at(443), f.c.at(443), hostAddrPort(published), hostAddrPort(22), netip.AddrPortFrom(gatewayOne, 22)} {
			t.Log(name, to)
			f.dropsFrom(f.a, withOptions(f.a.tcp(1, to, syn), options...), reasons.SourceRoute)
		}
	}
	for name, options := range map[string][]byte{
		"router alert": routerAlert, "record route": recordRoute, "data like one, behind the end": {0, 131, 7, 4},
		"data like one": {7, 8, 4, 131, 7, 4, 0, 0}, "of length zero": {7, 0, 131, 7}, "beyond the header": {7, 39, 131, 7},
	} {
		sent := withOptions(f.a.tcp(1, f.b.at(443), syn), options...)
		verdict, out := f.fromContainer(f.a, sent)
		f.expect(name, verdict, out, redirect, sent.delivered(f.b))
	}
	f.expectNoFlows()
}

// TestSourceRoutesFromOutside covers packets that the host's stack decides
// about, and those to a container's address, which nobody gets.
func TestSourceRoutesFromOutside(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv4, loader.Config{})
	for _, options := range [][]byte{looseRoute, strictRoute} {
		sent := withOptions(client.tcp(1, hostAddrPort(published), syn), options...)
		verdict, out := f.fromOutside(sent)
		f.expect("to a published port", verdict, out, next, sent)
		f.dropsFromOutside(withOptions(client.tcp(1, f.a.at(80), syn), options...), reasons.Unpublished)
	}
	f.expectNoFlows()
}
