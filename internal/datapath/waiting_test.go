package datapath_test

import (
	"fmt"
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
	"github.com/sluice-net/sluice/loader"
)

// waitingFlows is WAITING_FLOWS of bpf/types.h.
const waitingFlows = 32768

// waitingEnds is struct waiting_ends of bpf/types.h.
type waitingEnds struct{ Head, Tail, Begun uint32 }

// waitingEnds are those of the queues of IPv4 and of IPv6.
func (f *fixture) waitingEnds() (all [2]waitingEnds) {
	f.t.Helper()
	for i := range all {
		must(f.t, f.loader.Maps()["waiting_ends"].Lookup(uint32(i), &all[i]))
	}
	return all
}

func (f *fixture) setWaitingEnds(all [2]waitingEnds) {
	f.t.Helper()
	for i := range all {
		must(f.t, f.loader.Maps()["waiting_ends"].Put(uint32(i), all[i]))
	}
}

// queue is the index of the fixture's family's.
func (f *fixture) queue() int {
	if f.client.addr.Is6() {
		return 1
	}
	return 0
}

// patience is how many flows begin while one waits: an eighth of the nursery.
func (f *fixture) patience() uint32 { return f.loader.Maps()["nursery4"].MaxEntries() / 2 / 8 }

// expectWaiting asserts how many flows wait to be looked after.
func (f *fixture) expectWaiting(what string, want uint32) {
	f.t.Helper()
	if e := f.waitingEnds()[f.queue()]; e.Tail-e.Head != want {
		f.t.Errorf("%s: %d flows wait, want %d", what, e.Tail-e.Head, want)
	}
}

// othersBegin lets so many flows have begun, and nothing left of them.
func (f *fixture) othersBegin(flows uint32) {
	f.t.Helper()
	all := f.waitingEnds()
	all[f.queue()].Begun += flows
	f.setWaitingEnds(all)
}

// confirmed opens flows to as many ports, which are answered and taken up again at once.
func (f *fixture) confirmed(n int) (all []conversation) {
	f.t.Helper()
	for i := range n {
		all = append(all, f.inItsFirstSecond(func() conversation {
			c := f.converse(f.a.tcp(40000, f.remote.at(uint16(1000+i)), syn))
			c.receives(syn | ack)
			c.sends(ack)
			return c
		}))
	}
	return all
}

// begins opens one more flow, the nth.
func (f *fixture) begins(n int) {
	f.t.Helper()
	f.masqueradePort(f.a.udp(50000, f.remote.at(uint16(2000+n))))
}

// TestSilentFlowsProveThemselves covers connections that say nothing after their
// first second: others that begin take them over, two at a time, once an eighth of
// what the nursery has room for has begun.
func TestSilentFlowsProveThemselves(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		all := f.confirmed(5)
		f.expectWaiting("confirmed", 5)
		f.othersBegin(f.patience() - 6) // beside four that began while the first waited
		f.begins(0)
		f.expectTiers("one too few", 12, 0)
		f.othersBegin(f.patience())
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
			f.othersBegin(f.patience())
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
			"reset":             func(conversation) { f.editHeads(func(head *datapath.FlowHead) { head.State |= flowReset }) },
			"evicted":           func(conversation) { f.evictAll() },
			"timed out":         func(conversation) { f.older(7441) },
			"without its rule":  func(conversation) { must(t, f.maps.ClearRule(masqueradeOne)) },
			"of another's half": func(c conversation) { f.evict(c.forward) },
		} {
			f.evictAll()
			f.entries()
			c := f.confirmed(1)[0]
			ends(c)
			f.othersBegin(f.patience())
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
		for _, before := range []uint32{0, 1<<32 - waitingFlows - 3} { // numbers come round
			f.evictAll()
			ends := waitingEnds{Head: before, Tail: before + waitingFlows + 2}
			f.setWaitingEnds([2]waitingEnds{ends, ends})
			f.confirmed(1)
			f.othersBegin(f.patience())
			for n := range 3 {
				f.begins(n)
			}
			ends = f.waitingEnds()[f.queue()]
			if ends.Tail-ends.Head >= waitingFlows {
				t.Errorf("%d wait: the queue is stuck", ends.Tail-ends.Head)
			}
			ends.Head = ends.Tail - 1
			f.setWaitingEnds([2]waitingEnds{ends, ends})
			f.begins(9)
			f.expectTiers("the newest", 8, 2)
		}
	})
}

// TestFloodsLeaveSilentFlows covers a connection that has been silent since it began,
// while others come and go, all within its first second, until there were twice as
// many as the nursery has room for.
func TestFloodsLeaveSilentFlows(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, goes := range map[string]func(c conversation){
			"short": func(c conversation) {
				c.receives(syn | ack)
				c.sends(ack)
				c.sends(fin | ack)
				c.receives(fin | ack)
			},
			"unanswered":         func(conversation) {},
			"answered":           func(c conversation) { c.receives(syn | ack) },
			"answered and reset": func(c conversation) { c.receives(syn | ack); c.sends(rst) },
		} {
			f.evictAll()
			c := f.confirmed(1)[0]
			for i := range uint16(16 * f.patience()) {
				goes(f.converse(f.a.tcp(10000+i, f.remote.at(443), syn)))
			}
			c.expectAlive(name)
			if n := len(f.tier("flows")); n != 2 {
				t.Errorf("%s: %d halves are tenured", name, n)
			}
		}
	})
}

// TestOnlyTCPProvesItselfInItsFirstSecond: anybody can send two datagrams from any
// address, and what is taken over pushes out who is at work.
func TestOnlyTCPProvesItselfInItsFirstSecond(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, first := range map[string]frame{"udp": f.a.udp(40000, f.remote.at(53)), "echo": f.a.echo(7, f.remote.addr)} {
			f.inItsFirstSecond(func() conversation {
				f.evictAll()
				c := f.converse(first)
				c.receives(0)
				c.sends(0)
				f.othersBegin(f.patience())
				f.begins(0)
				last := f.half(keyOf(f.a.udp(50000, f.remote.at(2000)), networkOne)).Head.Created
				f.editHalf(c.forward, func(half *model.Half) { half.Head.Seen = last })
				return c
			})
			f.expectTiers(name+", young", 4, 0)
			f.expectWaiting(name, 1)
			f.older(2)
			f.begins(1)
			f.expectTiers(name+", put back", 6, 0)
			f.othersBegin(f.patience())
			f.begins(2)
			f.expectTiers(name+", older", 6, 2)
			f.expectWaiting(name, 0)
		}
	})
}

// TestTakenOverIsNoYounger: that another flow begins is no packet of the one that waits.
func TestTakenOverIsNoYounger(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		c := f.confirmed(1)[0]
		f.older(100)
		before := f.half(c.forward).Head
		f.othersBegin(f.patience())
		f.begins(0)
		for _, key := range []model.Key{c.forward, c.back} {
			if half, ok := f.tier("flows")[key]; !ok || half.Head.Seen != before.Seen || half.Head.Created != before.Created {
				t.Errorf("%v: tenured %v, created and seen %d and %d, want %d and %d",
					key, ok, half.Head.Created, half.Head.Seen, before.Created, before.Seen)
			}
		}
	})
}
