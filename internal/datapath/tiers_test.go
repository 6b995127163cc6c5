package datapath_test

import (
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
	"github.com/sluice-net/sluice/loader"
)

// expectTiers asserts how many halves are young and how many have proved
// themselves.
func (f *fixture) expectTiers(what string, young, tenured int) {
	f.t.Helper()
	if n := len(f.tier("nursery")); n != young {
		f.t.Errorf("%s: %d halves in the nursery, want %d", what, n, young)
	}
	table := f.tier("flows")
	if len(table) != tenured {
		f.t.Errorf("%s: %d halves are tenured, want %d", what, len(table), tenured)
	}
	for key, half := range table {
		if half.Head.State&flowTenured == 0 {
			f.t.Errorf("%s: %+v is not marked as tenured: %+v", what, key, half.Head)
		}
	}
}

// older makes every half look as if its flow had begun, and been seen, so long ago.
func (f *fixture) older(seconds uint32) {
	f.t.Helper()
	f.editHeads(func(head *datapath.FlowHead) {
		head.Created -= seconds
		head.Seen -= seconds
	})
}

// TestFlowsProveThemselves covers when a flow leaves the nursery: answered,
// taken up again, and after its first second; and that either half does it.
func TestFlowsProveThemselves(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, first := range map[string]frame{
			"tcp": f.a.tcp(40000, f.remote.at(443), syn), "udp": f.a.udp(40000, f.remote.at(53)), "echo": f.a.echo(7, f.remote.addr),
		} {
			c := f.converse(first)
			only := func(what string, young, tenured int) {
				t.Helper()
				for _, key := range []model.Key{c.forward, c.back} {
					_, isYoung := f.tier("nursery")[key]
					_, isTenured := f.tier("flows")[key]
					if isYoung != (young > 0) || isTenured != (tenured > 0) {
						t.Errorf("%s, %s: young %v, tenured %v", name, what, isYoung, isTenured)
					}
				}
			}
			f.older(10)
			c.sends(ack)
			only("asked twice", 2, 0)
			f.older(10)
			c.receives(syn | ack)
			only("answered", 2, 0)
			f.older(10)
			c.receives(ack)
			only("answered twice", 2, 0)
			c.sends(ack)
			only("taken up again", 0, 2)
			c.expectAlive(name)
			f.older(1)
			c.sends(ack)
			only("later", 0, 2)
		}
	})
}

// TestRepeatedSYNProvesNothing is RFC 5382 REQ-5: a connection is established by what
// answers the SYN-ACK. Whoever floods repeats a SYN without having seen one.
func TestRepeatedSYNProvesNothing(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, again := range map[string]uint8{"a SYN": syn, "a reset": rst} {
			c := f.converseTCP()
			c.receives(syn | ack)
			f.older(10)
			c.sends(again)
			f.expectTiers(name, 2, 0)
			if state := f.half(c.forward).Head.State; state&flowConfirmed != 0 {
				t.Errorf("%s: state %#x", name, state)
			}
			c.sends(ack)
			f.expectTiers(name+", then an ACK", 0, 2)
			f.evictAll()
		}
	})
}

// TestNothingMovesInItsFirstSecond covers a connection that is short: to move
// it would be work for nothing.
func TestNothingMovesInItsFirstSecond(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		c := f.inItsFirstSecond(func() conversation {
			c := f.converseTCP()
			c.receives(syn | ack)
			c.sends(ack)
			f.age(1) // or the next one would write nothing
			c.sends(ack)
			return c
		})
		f.expectTiers("young", 2, 0)
		f.older(2)
		c.receives(ack)
		f.expectTiers("older, by the other half", 0, 2)
	})
}

// TestFinishedFlowsLeave covers the end of a connection: it gives its place among
// those at work to others once both sides have finished.
func TestFinishedFlowsLeave(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		c := f.converseTCP()
		c.receives(syn | ack)
		f.older(10)
		c.sends(ack)
		f.expectTiers("at work", 0, 2)
		c.sends(fin | ack)
		f.expectTiers("one side has finished", 0, 2)
		c.receives(fin | ack)
		f.expectTiers("both have", 2, 0)
		f.older(2)
		c.sends(ack)
		c.receives(fin | ack) // once more
		f.expectTiers("the last packets", 2, 0)
		c.expectAlive("after its end")
	})
}

// TestFloodLeavesProvedFlows covers a full nursery: flows that have proved
// themselves stay, and new ones find room.
func TestFloodLeavesProvedFlows(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		c := f.converseTCP()
		c.receives(syn | ack)
		f.older(10)
		c.sends(ack)
		f.expectTiers("before", 0, 2)
		context := skb{Ifindex: uint32(f.a.ifindex)}
		for i := range uint16(6000) { // two halves each, in a nursery of 4096
			sent := f.a.udp(10000+i, f.remote.at(53))
			if got := f.execute(0, datapath.HookContainer, context, sent.bytes()); got.code != redirect {
				t.Fatalf("flow %d: verdict %d, drops %v", i, int32(got.code), f.drops())
			}
		}
		c.expectAlive("after the flood")
		if n := len(f.tier("flows")); n != 2 {
			t.Errorf("%d halves are tenured", n)
		}
	})
}

// TestTenuredFlowKeepsItsPort covers a claim that only the tenured table can
// refuse: two tables are not inserted into in one step.
func TestTenuredFlowKeepsItsPort(t *testing.T) {
	withFixtures(t, twoPorts, func(t *testing.T, f *fixture) {
		c := f.converseTCP()
		c.receives(syn | ack)
		f.older(10)
		c.sends(ack)
		ports := map[uint16]bool{}
		_, held := c.sends(ack)
		ports[held] = true
		ports[f.masqueradePort(f.a.tcp(40001, f.remote.at(443), syn))] = true
		expectEqual(t, "source ports", ports, map[uint16]bool{65534: true, 65535: true})
		f.expectTiers("both", 2, 2)
		c.expectAlive("the holder")
	})
}

// TestTenuredHalfComesBack covers a half that the tenured table has evicted,
// and one that stayed in the nursery.
func TestTenuredHalfComesBack(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		c := f.converseTCP()
		c.receives(syn | ack)
		f.older(10)
		c.sends(ack)
		f.evict(c.back)
		f.older(model.SeenTogether)
		c.sends(ack)
		f.expectTiers("evicted", 0, 2)

		half := f.tier("flows")[c.forward]
		half.Head.State &^= flowTenured
		f.evict(c.forward)
		f.writeHalf("nursery", c.forward, half)
		f.older(model.SeenTogether)
		c.sends(ack)
		f.expectTiers("left behind", 0, 2)
		c.expectAlive("after both")
	})
}

// TestDeadTenuredFlowLeavesWhole covers a tenured flow that has died and whose
// reply half's key a new one takes: no half of the old one stays.
func TestDeadTenuredFlowLeavesWhole(t *testing.T) {
	withFixtures(t, onePort, func(t *testing.T, f *fixture) {
		c := f.converse(f.a.udp(40000, f.remote.at(53)))
		c.receives(0)
		f.older(10)
		c.sends(0)
		f.expectTiers("before", 0, 2)
		f.older(301)
		f.masqueradePort(f.a.udp(40001, f.remote.at(53)))
		f.expectTiers("after", 2, 0)
	})
}
