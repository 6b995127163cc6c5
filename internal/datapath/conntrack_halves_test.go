package datapath_test

import (
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// TestEvictedHalfComesBack covers a half that the table has evicted: the next
// packet of the other direction that writes puts it back as it was.
func TestEvictedHalfComesBack(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		c := f.converse(f.a.udp(40000, f.remote.at(53)))
		c.receives(0)
		c.sends(0)
		left := c.answer.answer(f.a.station, 0)
		want := masqueraded(f, c.sent, left, flowReplied|flowConfirmed)
		f.expectFlows(want)

		f.evict(c.back)
		f.age(model.SeenTogether) // so that the other half is told, tenured or not
		c.sends(0)
		f.expectFlows(want)
		f.evict(c.forward)
		f.age(model.SeenTogether)
		c.receives(0)
		f.expectFlows(want)
	})
}

// TestForeignHalfKills covers a half whose counterpart's key has gone to
// another flow: it dies, and the other flow is left alone.
func TestForeignHalfKills(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, change := range map[string]func(to *model.Key){
			"another address":     func(to *model.Key) { to.Dst = f.b.addr },
			"another port":        func(to *model.Key) { to.Dport = 40001 },
			"another source":      func(to *model.Key) { to.Src = f.client.addr },
			"another source port": func(to *model.Key) { to.Sport = 54 },
		} {
			c := f.converseTCP()
			c.receives(syn | ack)
			f.editHalf(c.back, func(half *model.Half) { change(&half.To) })
			before := f.half(c.back)
			f.expectReset(name, datapath.HookContainer, f.a.ifindex, withFlags(c.sent, ack), reasons.NoFlow)
			flows := f.halves()
			if _, ok := flows[c.forward]; ok || len(flows) != 1 {
				t.Errorf("%s: %d halves are left, want the foreign one", name, len(flows))
			}
			expectEqual(t, name, flows[c.back], before)
			f.evict(c.back)
		}
	})
}

// TestClientKeepsItsPortAfterEviction covers a published flow whose forward
// half was evicted: the client's next datagram belongs to what is left of it.
func TestClientKeepsItsPortAfterEviction(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		request := f.client.udp(40000, at(f.host, published))
		inside := request.hop().to(f.a.at(target)).delivered(f.a)
		f.fromOutside(request)
		f.evict(keyOf(request, datapath.ZoneOutside))
		verdict, out := f.fromOutside(request)
		f.expect("again", verdict, out, redirect, inside)
		f.expectFlows(publishedFlows(f, request, inside, publishUDP, 0))
	})
}

// TestReopenedFlowIsNewInBothHalves covers a flow that is opened again while a
// half of the old one is left: nothing of that one's history stays.
func TestReopenedFlowIsNewInBothHalves(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		request := f.client.udp(40000, at(f.host, published))
		inside := request.hop().to(f.a.at(target)).delivered(f.a)
		f.fromOutside(request)
		f.fromContainer(f.a, inside.answer(f.a.station, 0))
		f.fromOutside(request)
		f.expectState("answered", flowReplied|flowConfirmed)
		f.evict(keyOf(request, datapath.ZoneOutside))
		f.age(5)
		f.fromOutside(request)
		f.expectFlows(publishedFlows(f, request, inside, publishUDP, 0))
	})
}

// TestZonesKeepHalvesApart covers a raw socket of the host that speaks as a
// container does: the container's flow keeps its reply half.
func TestZonesKeepHalvesApart(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		d := f.third()
		f.alias(f.a)
		sent := d.udp(40000, at(f.vip, 53))
		inside := sent.to(f.a.at(53)).delivered(f.a)
		f.fromContainer(d, sent)
		forged := sent
		forged.dstMAC = vipMAC
		verdict, out := f.fromHost(forged)
		if verdict != next || sourcePort(out) == sent.sport {
			t.Errorf("of the host: verdict %d, source port %d", int32(verdict), sourcePort(out))
		}
		answer := inside.answer(f.a.station, 0)
		verdict, out = f.fromContainer(f.a, answer)
		f.expect("answer", verdict, out, redirect, answer.from(at(f.vip, 53)).delivered(d))
	})
}

// TestTableOverflows opens more flows than the table holds: each first packet
// still gets through, and no port is given twice while its holder is there.
func TestTableOverflows(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		context := skb{Ifindex: uint32(f.a.ifindex)}
		for i := range uint16(3000) { // two halves each, in a table of 4096
			sent := f.a.udp(10000+i, f.remote.at(53))
			if got := f.execute(0, datapath.HookContainer, context, sent.bytes()); got.code != redirect {
				t.Fatalf("flow %d: verdict %d, drops %v", i, int32(got.code), f.drops())
			}
		}
		flows := f.halves()
		for key, flow := range flows {
			if key.Zone != networkOne {
				continue
			}
			to := flow.To
			other, ok := flows[model.Key{
				Src: to.Dst, Dst: to.Src, Sport: to.Dport, Dport: to.Sport, Zone: flow.Head.BackZone, Protocol: key.Protocol,
			}]
			if ok && other.To.Dport != key.Sport {
				t.Errorf("port %d is given twice", to.Sport)
			}
		}
	})
}
