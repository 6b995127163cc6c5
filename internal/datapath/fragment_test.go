package datapath_test

import (
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// fragments cuts a frame in three: only the first has the transport header.
func (f frame) fragments() (first, middle, last frame) {
	first, middle, last = f, f, f
	first.more, middle.more = true, true
	middle.offset, last.offset = 8, 16
	return first, middle, last
}

// addressed gives a later fragment the addresses of another frame.
func (f frame) addressed(like frame) frame {
	f.src, f.dst, f.srcMAC, f.dstMAC, f.ttl = like.src, like.dst, like.srcMAC, like.dstMAC, like.ttl
	return f
}

// TestFragments covers packets in fragments (RFC 791, RFC 8200 4.5) in both directions of
// every NAT: the first opens or finds the flow, the others follow it.
func TestFragments(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		d := f.third()
		f.alias(f.b)
		send := map[datapath.Hook]func(from endpoint, sent frame) (uint32, []byte){
			datapath.HookContainer: f.fromContainer,
			datapath.HookUplink:    func(_ endpoint, sent frame) (uint32, []byte) { return f.fromOutside(sent) },
		}
		inside := func(sent frame) frame { return sent.hop().to(f.a.at(target)).delivered(f.a) }
		for name, test := range map[string]struct {
			hook   datapath.Hook
			from   endpoint
			sent   frame
			expect func(sent frame, port uint16) frame
		}{
			"masquerade": {datapath.HookContainer, f.a, f.a.udp(40000, f.remote.at(53)),
				func(sent frame, port uint16) frame { return sent.hop().masqueraded(f.host, port) }},
			"echo": {datapath.HookContainer, f.a, f.a.echo(40000, f.remote.addr),
				func(sent frame, port uint16) frame { return sent.hop().masqueraded(f.host, port) }},
			"published": {datapath.HookUplink, f.a, f.client.udp(40000, at(f.host, published)),
				func(sent frame, _ uint16) frame { return inside(sent) }},
			"tcp": {datapath.HookUplink, f.a, f.client.tcp(40000, at(f.host, published), syn),
				func(sent frame, _ uint16) frame { return inside(sent) }},
			"hairpin": {datapath.HookContainer, f.c, f.c.udp(40000, at(f.host, published)),
				func(sent frame, _ uint16) frame { return inside(sent) }},
			"alias": {datapath.HookContainer, d, d.udp(40000, at(f.vip, 53)),
				func(sent frame, _ uint16) frame { return sent.to(f.b.at(53)).delivered(f.b) }},
		} {
			first, middle, last := test.sent.fragments()
			verdict, out := send[test.hook](test.from, first)
			want := test.expect(first, sourcePort(out))
			f.expect(name+", first", verdict, out, redirect, want)
			for what, later := range map[string]frame{"middle": middle, "last": last} {
				verdict, out = send[test.hook](test.from, later)
				f.expect(name+", "+what, verdict, out, redirect, later.addressed(want))
			}
		}
	})
}

// TestAnswersInFragments covers the other direction of a flow.
func TestAnswersInFragments(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		c := f.converse(f.a.udp(40000, f.remote.at(53)))
		first, middle, last := c.answer.fragments()
		want := first.hop().to(at(c.sent.src, c.sent.sport)).delivered(f.a)
		verdict, out := f.fromOutside(first)
		f.expect("first", verdict, out, redirect, want)
		for _, later := range []frame{last, middle} {
			verdict, out = f.fromOutside(later)
			f.expect("later", verdict, out, redirect, later.addressed(want))
		}
	})
}

// TestFragmentsFromHost covers the host's own large datagrams to an alias.
func TestFragmentsFromHost(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		f.alias(f.a)
		first, _, last := station{gatewayMAC, vipMAC, f.gatewayOne}.udp(40000, at(f.vip, 53)).fragments()
		want := first.to(f.a.at(53))
		want.dstMAC = f.a.mac
		verdict, out := f.fromHost(first)
		f.expect("first", verdict, out, next, want)
		verdict, out = f.fromHost(last)
		f.expect("last", verdict, out, next, last.addressed(want))
	})
}

// TestFragmentsWithoutFirst covers fragments that come before the first one,
// long after it, with another's identification, or from another side.
func TestFragmentsWithoutFirst(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		first, _, last := f.a.udp(40000, f.remote.at(53)).fragments()
		dropped := func(sent frame) {
			t.Helper()
			f.dropsFrom(f.a, sent, reasons.Fragment)
		}
		dropped(last)
		if verdict, _ := f.fromContainer(f.a, first); verdict != redirect {
			t.Fatalf("the first: verdict %d", int32(verdict))
		}
		if verdict, _ := f.fromContainer(f.a, last); verdict != redirect {
			t.Errorf("behind the first: verdict %d", int32(verdict))
		}
		dropped(last.with(func(f *frame) { f.id = defaultID + 1 }))
		// Only IPv4 tells packets apart by their protocol (RFC 791 2.3, RFC 8200 4.5).
		gre := withProtocol(last, layers.IPProtocolGRE)
		if f.cast == ipv4 {
			dropped(gre)
		} else if verdict, _ := f.fromContainer(f.a, gre); verdict != redirect {
			t.Errorf("of another protocol: verdict %d", int32(verdict))
		}
		f.ageFragments(31)
		dropped(last)

		// Outside, the same fragment is nobody's: it is the host's.
		foreign := last
		foreign.srcMAC, foreign.dstMAC = routerMAC, hostMAC
		if verdict, _ := f.fromOutside(foreign); verdict != next {
			t.Errorf("from outside: verdict %d", int32(verdict))
		}
	})
}

// ageFragments makes every first fragment look as if it were seen so long ago.
func (f *fixture) ageFragments(seconds uint32) {
	f.t.Helper()
	for _, name := range []string{"fragments4", "fragments6"} {
		var key []byte
		var ports datapath.Fragment
		table := f.loader.Maps()[name]
		for entries := table.Iterate(); entries.Next(&key, &ports); {
			ports.Seen -= seconds
			must(f.t, table.Put(key, ports))
		}
	}
}
