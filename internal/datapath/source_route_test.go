package datapath_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
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
	f := newFixture(t, loader.Config{})
	for name, options := range map[string][]byte{
		"loose": looseRoute, "strict": strictRoute, "reached": {131, 7, 8, 198, 51, 100, 9, 0},
		"behind no operation": slices.Concat([]byte{1, 1, 1}, looseRoute[:7], []byte{0, 0}),
		"behind an option":    slices.Concat(routerAlert, strictRoute),
		"behind the longest":  slices.Concat([]byte{7, 36, 4}, make([]byte, 33), []byte{131, 3, 4, 0}),
	} {
		for _, to := range []netip.AddrPort{remoteAddrPort(443), f.b.at(443), f.c.at(443), hostAddrPort(published), hostAddrPort(22), netip.AddrPortFrom(gatewayOne, 22)} {
			t.Log(name, to)
			f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(f.a.ifindex)}, withOptions(f.a.tcp(1, to, syn), options...).bytes(), reasons.SourceRoute)
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
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
}

// TestSourceRoutesFromOutside covers packets that the host's stack decides
// about, and those to a container's address, which nobody gets.
func TestSourceRoutesFromOutside(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	for _, options := range [][]byte{looseRoute, strictRoute} {
		sent := withOptions(client.tcp(1, hostAddrPort(published), syn), options...)
		verdict, out := f.fromOutside(sent)
		f.expect("to a published port", verdict, out, next, sent)
		f.expectDrop(datapath.HookUplink, skb{Ifindex: uint32(f.uplink)}, withOptions(client.tcp(1, f.a.at(80), syn), options...).bytes(), reasons.Unpublished)
	}
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
}

// TestForwardedByTheStack covers what reached a bridge of ours by the host's own
// forwarding: from a device that is no uplink, or by a source route.
func TestForwardedByTheStack(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	forwarded := skb{Ifindex: uint32(f.bridge), IngressIfindex: uint32(f.uplink)}
	for _, raw := range [][]byte{
		client.tcp(1, f.a.at(target), syn).bytes(),
		loopback.udp(1, f.a.at(target)).bytes(),
		client.echo(1, f.a.addr).bytes(),
	} {
		f.expectDrop(datapath.HookBridge, forwarded, raw, reasons.Unpublished)
	}
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
}

// TestPublishedRefusesMartians covers sources that the stack would refuse, had
// it seen the packet (RFC 1812 5.3.7), and those of our own networks, by which
// somebody outside could speak for a container.
func TestPublishedRefusesMartians(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	for _, src := range []string{
		"127.0.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		hostAddr.String(), gatewayOne.String(), gatewayTwo.String(), f.a.addr.String(), f.b.addr.String(), "172.17.99.99",
	} {
		t.Log(src)
		from := netip.AddrPortFrom(netip.MustParseAddr(src), 40000)
		f.expectDrop(datapath.HookUplink, skb{Ifindex: uint32(f.uplink)}, client.tcp(1, hostAddrPort(published), syn).from(from).bytes(), reasons.Martian)
	}
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
}
