package datapath_test

import (
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
)

// seeds are one frame for each way that a packet takes.
func seeds(f *fixture) []frame {
	fragment := f.a.udp(1, remoteAddrPort(53))
	fragment.more = true
	options := f.a.udp(1, remoteAddrPort(53))
	options.options = []byte{148, 4, 0, 0}
	return []frame{
		f.a.tcp(40000, remoteAddrPort(443), syn),
		f.a.udp(40000, remoteAddrPort(53)),
		f.a.echo(1, remoteAddr),
		f.a.tcp(1, f.b.at(80), syn),
		f.a.tcp(1, hostAddrPort(published), syn),
		client.tcp(40000, hostAddrPort(published), syn),
		client.udp(40000, hostAddrPort(published)),
		client.tcp(1, f.a.at(80), syn),
		loopback.tcp(1, f.a.at(target), syn),
		fragment,
		options,
	}
}

// FuzzPackets sends arbitrary bytes into each hook. run asserts that exactly
// one counter moves and that checksums that were right stay right.
func FuzzPackets(f *testing.F) {
	fixture := newFixture(f, loader.Config{})
	devices := map[datapath.Hook]int{
		datapath.HookContainer: fixture.a.ifindex, datapath.HookUplink: fixture.uplink, datapath.HookBridge: fixture.bridge,
	}
	for hook := range devices {
		for _, seed := range seeds(fixture) {
			raw := seed.bytes()
			f.Add(byte(hook), raw)
			f.Add(byte(hook), raw[:len(raw)/2])
		}
		f.Add(byte(hook), arp(fixture.a))
	}
	f.Fuzz(func(t *testing.T, where byte, raw []byte) {
		fixture.enter(t)
		hook := datapath.Hook(where)
		device, ok := devices[hook]
		if !ok || !testRunTakes(raw) {
			return
		}
		fixture.run(hook, skb{Ifindex: uint32(device)}, raw)
	})
}

// testRunTakes says whether BPF_PROG_TEST_RUN accepts a frame: it wants an
// Ethernet header and, for IP, the whole IP header (net/bpf/test_run.c).
func testRunTakes(raw []byte) bool {
	if len(raw) < 15 || len(raw) > 2000 {
		return false
	}
	switch {
	case raw[12] == 0x08 && raw[13] == 0x00:
		return len(raw) >= 14+20
	case raw[12] == 0x86 && raw[13] == 0xdd:
		return len(raw) >= 14+40
	}
	return true
}
