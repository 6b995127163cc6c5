package datapath_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
	"github.com/sluice-net/sluice/loader"
)

// hashes returns flow_hash of bpf/family/tenured.h, for the fixture's maps.
func (f *fixture) hashes() func(datapath.FlowKey4) uint64 {
	f.t.Helper()
	var seed datapath.FlowSeed
	must(f.t, f.loader.Maps()["flow_seeds"].Lookup(uint32(0), &seed))
	return func(k datapath.FlowKey4) (hash uint64) {
		words := [4]uint32{
			k.Src, k.Dst, uint32(k.Sport) | uint32(k.Dport)<<16, uint32(k.Zone) | uint32(k.Protocol)<<16 | uint32(k.EchoReply)<<24,
		}
		for i := 0; i < len(words); i += 2 {
			hash += uint64(words[i]+seed.Words[i]) * uint64(words[i+1]+seed.Words[i+1])
		}
		hash = (hash ^ hash>>32) * 0x9e3779b97f4a7c15
		return hash ^ hash>>32
	}
}

// setsMask is what a hash is cut with to choose a set.
func (f *fixture) setsMask() uint64 { return uint64(f.loader.Maps()["flow_tags4"].MaxEntries() - 1) }

// numberedKey is one of many keys.
func numberedKey(n uint32) datapath.FlowKey4 { return datapath.FlowKey4{Src: n, Dst: 1, Protocol: 17} }

// keysOfSet returns n keys that lead to one set.
func (f *fixture) keysOfSet(n int) (keys []datapath.FlowKey4) {
	f.t.Helper()
	hash, mask := f.hashes(), f.setsMask()
	for i := uint32(0); len(keys) < n; i++ {
		if hash(numberedKey(i))&mask == mask {
			keys = append(keys, numberedKey(i))
		}
	}
	return keys
}

// lives is a half of a flow that is alive, and was seen so many seconds ago.
func (f *fixture) lives(ago uint32) datapath.Flow4 {
	f.t.Helper()
	sent := f.a.tcp(50000, f.remote.at(443), ack)
	var flow datapath.Flow4
	for _, half := range masqueraded(f, sent, sent.from(at(f.host, 61001)), flowReplied|flowConfirmed) {
		flow.Head = half.Head
	}
	flow.Head.State |= flowTenured
	flow.Head.Direction = directionForward // whichever it was
	flow.Head.Seen = uptime(f.t) - ago
	flow.Head.Created = flow.Head.Seen - 1000
	return flow
}

func onlyIPv4(t *testing.T, run func(t *testing.T, f *fixture)) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		if f.client.addr.Is4() {
			run(t, f)
		}
	})
}

// TestTenuredTableKeepsAll covers as many halves as their sets have room for: each is
// found, once, and what is removed is gone.
func TestTenuredTableKeepsAll(t *testing.T) {
	onlyIPv4(t, func(t *testing.T, f *fixture) {
		table, flow, hash := tenured4(f), f.lives(0), f.hashes()
		var keys []uint32
		inSet := map[uint64]int{}
		for n := range uint32(4096) { // as many as were asked for
			if set := hash(numberedKey(n)) & f.setsMask(); inSet[set] < datapath.FlowWays {
				inSet[set]++
				keys = append(keys, n)
			}
		}
		for _, n := range keys {
			flow.Head.Peer = uint16(n) // anything that tells it from others
			if table.do(datapath.FlowPut, numberedKey(n), flow) != datapath.FlowDone {
				t.Fatalf("key %d is not taken", n)
			}
			if table.do(datapath.FlowPut, numberedKey(n), flow) != datapath.FlowThere {
				t.Errorf("key %d is taken twice", n)
			}
		}
		all := table.read()
		for _, n := range keys {
			if got, ok := all[numberedKey(n)]; !ok || got.Head.Peer != uint16(n) {
				t.Errorf("key %d: %+v, %v", n, got, ok)
			}
		}
		for _, n := range keys {
			if got := table.do(datapath.FlowErase, numberedKey(n), flow); got != datapath.FlowDone {
				t.Errorf("key %d is not removed", n)
			}
			if got := table.do(datapath.FlowErase, numberedKey(n), flow); got != 0 {
				t.Errorf("key %d is removed twice", n)
			}
		}
		expectEqual(t, "left", len(table.read()), 0)
	})
}

// TestTenuredTagsCollide covers keys of one set that have the same tag.
func TestTenuredTagsCollide(t *testing.T) {
	onlyIPv4(t, func(t *testing.T, f *fixture) {
		table, flow := tenured4(f), f.lives(0)
		hash, mask := f.hashes(), f.setsMask()
		places, keys := map[uint64][]uint32{}, []uint32{}
		for n := uint32(0); len(keys) < 3; n++ {
			hash := hash(numberedKey(n))
			place := hash&mask | (hash>>48|2)<<48
			places[place] = append(places[place], n)
			keys = places[place]
		}
		for i, n := range keys {
			flow.Head.Peer = uint16(i)
			table.write(map[datapath.FlowKey4]datapath.Flow4{numberedKey(n): flow})
		}
		all := table.read()
		for i, n := range keys {
			if got, ok := all[numberedKey(n)]; !ok || got.Head.Peer != uint16(i) {
				t.Errorf("key %d of %d: %+v, %v", i, len(keys), got, ok)
			}
		}
		for _, n := range keys {
			if table.do(datapath.FlowErase, numberedKey(n), flow) != datapath.FlowDone {
				t.Errorf("key %d is not removed", n)
			}
		}
		expectEqual(t, "left", len(table.read()), 0)
	})
}

// TestFullSetGivesWay covers who goes when a set is full: one that is over, however
// lately it was seen, or else the one that was idle for longest.
func TestFullSetGivesWay(t *testing.T) {
	onlyIPv4(t, func(t *testing.T, f *fixture) {
		table := tenured4(f)
		keys := f.keysOfSet(datapath.FlowWays + 3)
		halves := map[datapath.FlowKey4]datapath.Flow4{}
		idle := f.lives(100)
		for _, key := range keys[:datapath.FlowWays] {
			halves[key] = idle
			idle.Head.Seen-- // by one reading of the clock, or two might be as idle
		}
		over := f.lives(0)
		over.Head.EndpointGeneration += 7
		halves[keys[3]] = over
		table.write(halves)
		expectGone := func(what string, goes, comes int) {
			t.Helper()
			if table.do(datapath.FlowPut, keys[comes], f.lives(0)) != datapath.FlowDone {
				t.Errorf("%s: not taken", what)
			}
			all := table.read()
			if _, ok := all[keys[goes]]; ok || len(all) != datapath.FlowWays {
				t.Errorf("%s: it is still there: %v; %d halves", what, ok, len(all))
			}
			if _, ok := all[keys[comes]]; !ok {
				t.Errorf("%s: the new one is not there", what)
			}
		}
		expectGone("one that is over", 3, datapath.FlowWays)
		expectGone("the idle one", datapath.FlowWays-1, datapath.FlowWays+1)
		expectGone("the next idle one", datapath.FlowWays-2, datapath.FlowWays+2)
	})
}

// TestWhoGivesWayIsBroughtBack covers a flow at work whose reply half gave way in a full
// set: the next request brings it back, before the answer comes.
func TestWhoGivesWayIsBroughtBack(t *testing.T) {
	onlyIPv4(t, func(t *testing.T, f *fixture) {
		table, hash := tenured4(f), f.hashes()
		setOf := func(key model.Key) uint64 { return hash(rawKey4(key)) & f.setsMask() }
		c := f.converseTCP()
		for port := uint16(40001); setOf(c.forward) == setOf(c.back); port++ { // one of so many sets: both would give way
			f.evictAll()
			c = f.converse(f.a.tcp(port, f.remote.at(443), syn))
		}
		c.receives(syn | ack)
		f.older(100)
		c.sends(ack)
		f.expectTiers("before", 0, 2)
		now := uptime(t)
		f.editHeads(func(head *datapath.FlowHead) { head.Created, head.Seen = now-170, now-5 })
		set := setOf(c.back)
		for n, filled := uint32(0), 0; filled < datapath.FlowWays; n++ {
			if hash(numberedKey(n))&f.setsMask() == set {
				table.do(datapath.FlowPut, numberedKey(n), f.lives(0))
				filled++
			}
		}
		if _, ok := table.read()[rawKey4(c.back)]; ok {
			t.Error("the reply half did not give way")
		}
		c.sends(ack)
		c.expectAlive("after a request")
	})
}

// TestCarriedFlowIsNotYoung covers a flow that an upgrade carries over twice, since it
// proved itself meanwhile: one that is left in the nursery could not finish.
func TestCarriedFlowIsNotYoung(t *testing.T) {
	onlyIPv4(t, func(t *testing.T, f *fixture) {
		c := f.confirmed(1)[0]
		f.expectTiers("before", 2, 0)
		young := batch[datapath.FlowKey4, datapath.Flow4](f, "nursery4")
		for key, flow := range young {
			flow.Head.State |= flowTenured
			expectEqual(t, "carried", tenured4(f).do(datapath.FlowPut, key, flow), uint32(datapath.FlowDone))
		}
		f.expectTiers("carried", 0, 2)
		c.sends(fin | ack)
		c.receives(fin | ack)
		f.expectTiers("both have finished", 2, 0)
		c.expectAlive("at its end")

		for key, flow := range young {
			flow.Sport++ // another flow's
			expectEqual(t, "of another flow", tenured4(f).do(datapath.FlowPut, key, flow), uint32(datapath.FlowThere))
		}
		f.expectTiers("another flow has the keys", 2, 0)
	})
}

// TestResetIsNotOver covers a flow that was reset, perhaps by somebody whom nobody
// heeded: it gives way when it is its turn, and not before.
func TestResetIsNotOver(t *testing.T) {
	onlyIPv4(t, func(t *testing.T, f *fixture) {
		table := tenured4(f)
		keys := f.keysOfSet(datapath.FlowWays + 1)
		halves := map[datapath.FlowKey4]datapath.Flow4{}
		for i, key := range keys[:datapath.FlowWays] {
			halves[key] = f.lives(uint32(100 + i))
		}
		reset := f.lives(60)
		reset.Head.State |= datapath.FlowReset
		halves[keys[3]] = reset
		table.write(halves)
		table.do(datapath.FlowPut, keys[datapath.FlowWays], f.lives(0))
		if _, ok := table.read()[keys[3]]; !ok {
			t.Error("it gave way to others that were idle for longer")
		}
	})
}

// TestTenuredTableAtOnce lets many change one set at the same time: no key is there
// twice, and no entry stays taken.
func TestTenuredTableAtOnce(t *testing.T) {
	onlyIPv4(t, func(t *testing.T, f *fixture) {
		table, flow := tenured4(f), f.lives(0)
		keys := f.keysOfSet(datapath.FlowWays + 8)
		for _, among := range []int{1, 2, len(keys)} {
			for round := range uint64(30) {
				var all sync.WaitGroup
				for worker := range uint64(4) {
					random := rand.New(rand.NewPCG(round, worker))
					all.Go(func() {
						for range 200 {
							key := keys[random.IntN(among)]
							if random.IntN(2) == 0 {
								table.do(datapath.FlowErase, key, flow)
							} else {
								table.do(datapath.FlowPut, key, flow)
							}
						}
					})
				}
				all.Wait()
				table.read() // which fails if a key is there twice
			}
		}
		for _, key := range keys {
			table.do(datapath.FlowErase, key, flow)
		}
		for _, key := range keys[:datapath.FlowWays] {
			if table.do(datapath.FlowPut, key, flow) != datapath.FlowDone {
				t.Error("an entry is neither free nor anybody's")
			}
		}
		expectEqual(t, "halves", len(table.read()), datapath.FlowWays)
	})
}

// TestTimeIsToldSeldom covers what a packet writes that changes nothing but its
// flow's time: its own half's, and the other's once in a while.
func TestTimeIsToldSeldom(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		c := f.converseTCP()
		c.receives(syn | ack)
		f.older(100)
		c.sends(ack)
		f.expectTiers("before", 0, 2)
		for _, flags := range []uint8{ack, ack | fin} { // by the fast path, and by the slow one
			for ago, together := range map[uint32]bool{1: false, model.SeenTogether - 1: false, model.SeenTogether: true, 3 * model.SeenTogether: true} {
				own, other := f.seenAfter(c, flags, ago)
				if own != 0 || (other == 0) != together {
					t.Errorf("flags %#x, after %d s: the halves were last seen %d and %d s ago", flags, ago, own, other)
				}
			}
		}
	})
}

// seenAfter sends a packet of a tenured flow that was seen so many seconds ago, and
// says how many seconds before the packet either half was last seen then.
func (f *fixture) seenAfter(c conversation, flags uint8, ago uint32) (own, other int32) {
	f.t.Helper()
	now := f.half(c.forward).Head.Seen // by the programs' clock
	for range 10 {
		f.editHeads(func(head *datapath.FlowHead) {
			head.Created, head.Seen = now-2*model.SeenTogether-ago, now-ago
			if flags&fin != 0 { // it is not the first
				head.State |= datapath.FlowFINForward
			}
		})
		c.sends(flags)
		own, other = int32(now-f.half(c.forward).Head.Seen), int32(now-f.half(c.back).Head.Seen)
		if own >= 0 {
			return own, other
		}
		now -= uint32(own) // the clock ticked meanwhile
	}
	f.t.Fatalf("after %d s: the clock never stops", ago)
	return
}

// TestEitherHalfKeepsFlowAlive covers a half whose flow's last packets were all of
// the other direction, when its own time has run out.
func TestEitherHalfKeepsFlowAlive(t *testing.T) {
	withFixtures(t, onePort, func(t *testing.T, f *fixture) {
		c := f.converse(f.a.udp(40000, f.remote.at(53)))
		c.receives(0)
		f.older(10)
		c.sends(0)
		f.expectTiers("before", 0, 2)
		f.age(310)
		f.editHalf(c.forward, func(half *model.Half) { half.Head.Seen = uptime(t) })
		if verdict, _ := f.fromContainer(f.a, f.a.udp(40001, f.remote.at(53))); verdict != shot {
			t.Errorf("its port is given to another one: verdict %d", int32(verdict))
		}
		c.expectAlive("by the forward half")
		f.age(310)
		f.editHalf(c.back, func(half *model.Half) { half.Head.Seen = uptime(t) })
		if verdict, _ := c.sends(0); verdict != redirect {
			t.Errorf("by the reply half: verdict %d", int32(verdict))
		}
		f.age(310)
		c.expectDead("by neither")
	})
}
