package datapath_test

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// towardsUplink are the packets that leave the host, with what they become but for
// their MAC addresses.
func (f *fixture) towardsUplink(all []outward, halves conntrack) map[*outward]frame {
	wants := map[*outward]frame{}
	for i := range all {
		o := &all[i]
		switch o.name[len("tcp, "):] {
		case "answer of a published port":
			wants[o] = o.sent.hop().from(at(f.host, published))
		case "masqueraded":
			wants[o] = o.sent.hop().from(at(f.host, f.translated(halves, o.sent)))
		}
	}
	return wants
}

// nextHops makes the kernel know the MAC address of everyone on the uplink.
func (f *fixture) nextHops(mac net.HardwareAddr) {
	f.t.Helper()
	for _, addr := range []netip.Addr{f.router, f.client.addr} {
		must(f.t, netlink.NeighSet(f.neighbour(addr, mac)))
	}
}

func (f *fixture) neighbour(addr netip.Addr, mac net.HardwareAddr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: f.uplink, IP: addr.AsSlice(), HardwareAddr: mac, State: netlink.NUD_PERMANENT}
}

// leaves sends a packet of an outward flow that is at work.
func (f *fixture) leaves(o *outward, halves conntrack, raw []byte, gso int) result {
	f.t.Helper()
	f.seen(halves, 0)
	return f.execute(0, datapath.HookContainer, skb{Ifindex: uint32(o.from.ifindex), GSOSize: uint32(gso)}, raw)
}

// mostTries is how often a packet is sent until one comes in the tick of another.
const mostTries = 1000

// haveFastPaths says whether this kernel has what the fast paths need.
func haveFastPaths(t testing.TB) bool {
	kernel, err := loader.KernelFeatures()
	must(t, err)
	return kernel.KernelContext
}

// leavesStraight sends a packet until it leaves with a next hop's MAC address, which
// is when one has left before in the same tick. Without fast paths none does.
func (f *fixture) leavesStraight(o *outward, halves conntrack, raw []byte, gso int, to net.HardwareAddr) result {
	f.t.Helper()
	context := skb{Ifindex: uint32(o.from.ifindex), GSOSize: uint32(gso)}
	for range mostTries {
		f.leaves(o, halves, raw, gso)
		got := f.execute(0, datapath.HookContainer, context, raw) // at once: leaves takes its time before it sends
		if got.code == redirect && bytes.HasPrefix(got.raw, to) == haveFastPaths(f.t) {
			return got
		}
	}
	f.t.Fatalf("%s: never leaves for %s", o.name, to)
	return result{}
}

// nextTick waits until what is known of next hops is old: for two ticks, since the
// kernel counts one before it tells this clock.
func nextTick(t testing.TB) {
	t.Helper()
	for range 2 {
		for began := tickTime(t); tickTime(t) == began; {
			time.Sleep(time.Millisecond)
		}
	}
}

// tickTime is when the last tick was.
func tickTime(t testing.TB) unix.Timespec {
	t.Helper()
	var now unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &now))
	return now
}

// TestNextHop: what leaves in the tick in which the kernel has told the way goes
// there without asking, and is what it would be otherwise.
func TestNextHop(t *testing.T) {
	withOutwards(t, func(t *testing.T, f *fixture, all []outward, halves conntrack) {
		f.nextHops(routerMAC)
		for o, want := range f.towardsUplink(all, halves) {
			payload := 1500 - len(withPayload(o.sent, nil).bytes()) + ethernet
			for name, change := range map[string]func(frame) frame{
				"as it is":          func(s frame) frame { return s },
				"as large as fits":  func(s frame) frame { return withPayload(s, make([]byte, payload)) },
				"without checksum":  withoutChecksum,
				"last hop but one":  func(s frame) frame { return withTTL(s, s.ttl-10) },
				"without a payload": func(s frame) frame { return withPayload(s, nil) },
			} {
				got := f.leavesStraight(o, halves, change(o.sent).bytes(), 0, routerMAC)
				straight := change(want)
				if haveFastPaths(t) {
					straight.srcMAC, straight.dstMAC = hostMAC, routerMAC
				}
				f.expect(o.name+", "+name, got.code, got.raw, redirect, straight)
				if got.left.Mark != 0 || got.left.Tstamp != 0 {
					t.Errorf("%s, %s: leaves with mark %#x, time stamp %d", o.name, name, got.left.Mark, got.left.Tstamp)
				}
			}
			f.leavesStraight(o, halves, withPayload(o.sent, make([]byte, 3000)).bytes(), 1400, routerMAC)
			for name, sent := range map[string]frame{
				"too large": withPayload(o.sent, make([]byte, payload+1)),
				"last hop":  withTTL(o.sent, 1),
			} {
				f.leavesStraight(o, halves, o.sent.bytes(), 0, routerMAC)
				f.expectBothWays(o.name+", "+name, f.leaving(o.from), 0, halves, o.rule, sent.bytes())
			}
		}
	})
}

// TestNextHopIsForgotten: a tick later, the kernel is asked again.
func TestNextHopIsForgotten(t *testing.T) {
	withOutwards(t, func(t *testing.T, f *fixture, all []outward, halves conntrack) {
		other := mustMAC("02:00:00:00:00:fd")
		for o, want := range f.towardsUplink(all, halves) {
			blackhole := &netlink.Route{Dst: ipNet(t, netip.PrefixFrom(o.sent.dst, o.sent.dst.BitLen())), Type: unix.RTN_BLACKHOLE}
			for name, change := range map[string]struct{ do, undo func() }{
				"no route":  {func() { must(t, netlink.RouteAdd(blackhole)) }, func() { must(t, netlink.RouteDel(blackhole)) }},
				"no uplink": {func() { must(t, f.maps.SetUplinks(nil)) }, func() { f.setUplink(f.host) }},
				"no neighbour": {func() {
					for _, addr := range []netip.Addr{f.router, f.client.addr} {
						must(t, netlink.NeighDel(f.neighbour(addr, routerMAC)))
					}
				}, func() {}},
			} {
				f.nextHops(routerMAC)
				nextTick(t)
				f.leavesStraight(o, halves, o.sent.bytes(), 0, routerMAC)
				change.do()
				nextTick(t)
				f.expectBothWays(o.name+", "+name, f.leaving(o.from), 0, halves, o.rule, o.sent.bytes())
				change.undo()
			}
			f.nextHops(routerMAC)
			f.leavesStraight(o, halves, o.sent.bytes(), 0, routerMAC)
			f.nextHops(other)
			nextTick(t)
			asks := f.leaves(o, halves, o.sent.bytes(), 0)
			f.expect(o.name+", the first one of a tick", asks.code, asks.raw, redirect, want)
			f.leavesStraight(o, halves, o.sent.bytes(), 0, other)
		}
	})
}

// TestNextHopWithoutEthernet: what a neighbour has in the place of a MAC address, as
// the tunnel's other end has for GRE to many, is for the device to write.
func TestNextHopWithoutEthernet(t *testing.T) {
	withOutwards(t, func(t *testing.T, f *fixture, all []outward, halves conntrack) {
		f.nextHops(routerMAC)
		must(t, f.maps.SetUplinks(map[uint32]maps.Uplink{uint32(f.uplink): {IPv4: ipv4.host, IPv6: ipv6.host}}))
		for o, want := range f.towardsUplink(all, halves) {
			for range 50 {
				got := f.leaves(o, halves, o.sent.bytes(), 0)
				f.expect(o.name, got.code, got.raw, redirect, want)
			}
		}
	})
}

// TestNextHopIsOfOneDestination: what is known of a destination leads no other one
// there whose hash is the same.
func TestNextHopIsOfOneDestination(t *testing.T) {
	withOutwards(t, func(t *testing.T, f *fixture, all []outward, halves conntrack) {
		if !haveFastPaths(t) {
			return // nothing is kept, see TestNextHop
		}
		f.nextHops(routerMAC)
		other := mustMAC("02:00:00:00:00:fd")
		must(t, netlink.NeighSet(f.neighbour(f.client.addr, other)))
		toClient, toRemote := &all[0], &all[1]
		f.leavesStraight(toClient, halves, toClient.sent.bytes(), 0, other)
		f.leavesStraight(toRemote, halves, toRemote.sent.bytes(), 0, routerMAC)
		client, remote := f.nextHopSlot(f.client.addr), f.nextHopSlot(f.remote.addr)
		hops := f.nextHopMap()
		for range 50 {
			f.leavesStraight(toRemote, halves, toRemote.sent.bytes(), 0, routerMAC)
			var known [][]byte
			must(t, hops.Lookup(remote, &known))
			must(t, hops.Put(client, known))
			if got := f.leaves(toClient, halves, toClient.sent.bytes(), 0); bytes.HasPrefix(got.raw, routerMAC) {
				t.Fatalf("a packet for %s leaves for the next hop of %s", f.client.addr, f.remote.addr)
			}
		}
	})
}

func (f *fixture) nextHopMap() *ebpf.Map {
	if f.client.addr.Is6() {
		return f.loader.Maps()["next_hops6"]
	}
	return f.loader.Maps()["next_hops4"]
}

// nextHopSlot is where what is known of a destination lies.
func (f *fixture) nextHopSlot(dst netip.Addr) uint32 {
	f.t.Helper()
	var slot uint32
	var known [][]byte
	all := f.nextHopMap().Iterate()
	for all.Next(&slot, &known) {
		for _, hop := range known {
			if bytes.Contains(hop, dst.AsSlice()) {
				return slot
			}
		}
	}
	f.t.Fatalf("nothing is known of %s: %v", dst, all.Err())
	return 0
}
