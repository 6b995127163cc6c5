package datapath_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/loader"
)

// waitingFlows is WAITING_FLOWS of bpf/types.h.
const waitingFlows = 32768

// waitingEnds is struct waiting_ends of bpf/types.h.
type waitingEnds struct{ Head, Tail uint32 }

// waitingQueue is that of the fixture's family, and where its ends are.
func (f *fixture) waitingQueue() (queue, ends *ebpf.Map, slot uint32) {
	all := f.loader.Maps()
	if f.client.addr.Is6() {
		return all["waiting6"], all["waiting_ends"], 1
	}
	return all["waiting4"], all["waiting_ends"], 0
}

func (f *fixture) waitingEnds() (e waitingEnds) {
	f.t.Helper()
	_, ends, slot := f.waitingQueue()
	must(f.t, ends.Lookup(slot, &e))
	return e
}

// expectWaiting asserts how many flows wait to be looked after.
func (f *fixture) expectWaiting(what string, want uint32) {
	f.t.Helper()
	if e := f.waitingEnds(); e.Tail-e.Head != want {
		f.t.Errorf("%s: %d flows wait, want %d", what, e.Tail-e.Head, want)
	}
}

// silence lets seconds pass without a packet, for flows and for those that wait.
func (f *fixture) silence(seconds uint32) {
	f.t.Helper()
	f.older(seconds)
	queue, _, _ := f.waitingQueue()
	e := f.waitingEnds()
	for number := e.Head; number != e.Tail; number++ {
		slot := number % waitingFlows
		raw, err := queue.LookupBytes(slot)
		must(f.t, err)
		since := raw[len(raw)-4:]
		binary.NativeEndian.PutUint32(since, binary.NativeEndian.Uint32(since)-seconds)
		must(f.t, queue.Put(slot, raw))
	}
}

// confirmed opens flows to as many ports, which are answered and taken up again at once.
func (f *fixture) confirmed(n int) (all []conversation) {
	f.t.Helper()
	for i := range n {
		c := f.converse(f.a.tcp(40000, f.remote.at(uint16(1000+i)), syn))
		c.receives(syn | ack)
		c.sends(ack)
		all = append(all, c)
	}
	return all
}

// begins opens one more flow, the nth.
func (f *fixture) begins(n int) {
	f.t.Helper()
	f.masqueradePort(f.a.udp(50000, f.remote.at(uint16(2000+n))))
}

// TestSilentFlowsProveThemselves covers connections that say nothing after their
// first second: others that begin take them over, two at a time.
func TestSilentFlowsProveThemselves(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		all := f.confirmed(5)
		f.expectWaiting("confirmed", 5)
		f.begins(0)
		f.expectTiers("in their first second", 12, 0)
		f.silence(10)
		for n, tenured := range []int{4, 8, 10, 10} {
			f.begins(n + 1)
			f.expectTiers(fmt.Sprintf("%d have begun", n+1), 12+2*(n+1)-tenured, tenured)
		}
		f.expectWaiting("all looked after", 0)
		for _, c := range all {
			f.half(c.forward)
			f.half(c.back)
			c.expectAlive(fmt.Sprint(c.forward))
		}
	})
}

// TestEachHookLooksAfterTheSilent: whoever opens a flow does, from outside and, of the
// host's, on the bridge too.
func TestEachHookLooksAfterTheSilent(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		f.alias(f.b)
		for name, begin := range map[string]func(){
			"uplink": func() { f.fromOutside(f.client.udp(40000, at(f.host, published))) },
			"alias":  func() { f.fromContainer(f.a, f.a.udp(40000, at(f.vip, 80))) },
			"bridge": func() {
				f.fromHost(station{gatewayMAC, gatewayMAC, f.gatewayOne}.udp(40000, at(f.vip, 80)))
			},
		} {
			f.evictAll()
			f.confirmed(1)
			f.silence(10)
			begin()
			f.expectTiers(name, 2, 2)
		}
	})
}

// TestWhoIsNotTakenOver covers what waits and is not at work any more.
func TestWhoIsNotTakenOver(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, ends := range map[string]func(c conversation){
			"finished":          func(c conversation) { c.sends(fin | ack); c.receives(fin | ack) },
			"reset":             func(c conversation) { c.receives(rst) },
			"evicted":           func(conversation) { f.evictAll() },
			"timed out":         func(conversation) { f.silence(7441) },
			"without its rule":  func(conversation) { must(t, f.maps.ClearRule(masqueradeOne)) },
			"of another's half": func(c conversation) { f.evict(c.forward) },
		} {
			f.evictAll()
			f.entries()
			c := f.confirmed(1)[0]
			ends(c)
			f.silence(2)
			f.fromOutside(f.client.udp(40000, at(f.host, published)))
			if n := len(f.tier("flows")); n != 0 {
				t.Errorf("%s: %d halves are tenured: %+v", name, n, f.halves())
			}
			f.expectWaiting(name, 0)
		}
	})
}

// TestFullQueueForgetsTheOldest: when more wait than there is room for, the others
// go on to be looked after.
func TestFullQueueForgetsTheOldest(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		_, ends, slot := f.waitingQueue()
		for _, before := range []uint32{0, 1<<32 - waitingFlows - 3} { // numbers come round
			f.evictAll()
			must(t, ends.Put(slot, waitingEnds{before, before + waitingFlows + 2}))
			f.confirmed(1)
			f.silence(10)
			for n := range 3 {
				f.begins(n)
			}
			if e := f.waitingEnds(); e.Tail-e.Head >= waitingFlows {
				t.Errorf("%d wait: the queue is stuck", e.Tail-e.Head)
			}
			must(t, ends.Put(slot, waitingEnds{f.waitingEnds().Tail - 1, f.waitingEnds().Tail}))
			f.begins(9)
			f.expectTiers("the newest", 8, 2)
		}
	})
}

// TestShortConnectionsLeaveSilentFlows covers a connection that has been silent since
// its first second, while more short ones come and go than the nursery has room for.
func TestShortConnectionsLeaveSilentFlows(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		c := f.confirmed(1)[0]
		f.silence(10)
		for i := range uint16(4000) { // two halves each, in a nursery of 4096
			short := f.converse(f.a.tcp(10000+i, f.remote.at(443), syn))
			short.receives(syn | ack)
			short.sends(ack)
			short.sends(fin | ack)
			short.receives(fin | ack)
		}
		c.expectAlive("after the short ones")
		if n := len(f.tier("flows")); n != 2 {
			t.Errorf("%d halves are tenured", n)
		}
	})
}
