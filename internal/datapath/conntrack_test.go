package datapath_test

import (
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// TestTimeouts covers how long a flow lives without packets, by its state.
func TestTimeouts(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		tcp, udp, echo := f.a.tcp(40000, f.remote.at(443), syn), f.a.udp(40000, f.remote.at(53)), f.a.echo(1, f.remote.addr)
		const established = flowReplied | flowConfirmed
		for _, test := range []struct {
			name    string
			sent    frame
			state   uint8
			seconds uint32
		}{
			{"tcp, opening", tcp, 0, 240},
			{"tcp, answered", tcp, flowReplied, 240},
			{"tcp, established", tcp, established, 7440},
			{"tcp, one FIN", tcp, established | flowFINForward, 240},
			{"tcp, other FIN", tcp, established | flowFINReply, 240},
			{"tcp, both FINs", tcp, established | flowFINForward | flowFINReply, 240},
			{"tcp, reset", tcp, established | flowReset, 10},
			{"tcp, FIN and reset", tcp, established | flowFINForward | flowReset, 10},
			{"udp, new", udp, 0, 120},
			{"udp, answered", udp, flowReplied, 300},
			{"udp, both ways", udp, established, 300},
			{"echo, new", echo, 0, 60},
			{"echo, answered", echo, flowReplied, 60},
		} {
			if got := f.loader.Timeouts().Of(uint8(test.sent.protocol), test.state); got != time.Duration(test.seconds)*time.Second {
				t.Errorf("%s: Go says %v", test.name, got)
			}
			c := f.converse(test.sent)
			setState := func(head *datapath.FlowHead) { head.State = test.state }
			f.editHeads(setState)
			f.age(test.seconds - 2) // the clock may tick meanwhile
			c.expectAlive(test.name)
			f.editHeads(setState)
			f.age(test.seconds + 1)
			c.expectDead(test.name)
		}
	})
}

// TestPacketsKeepFlowsAlive covers that a packet of either direction brings
// both halves up to date, and how seldom it writes.
func TestPacketsKeepFlowsAlive(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		c := f.converse(f.a.udp(40000, f.remote.at(53)))
		created := f.half(c.forward).Head.Created
		for _, send := range []func(){func() { c.sends(0) }, func() { c.receives(0) }, func() { c.sends(0) }} {
			f.age(100)
			send()
			for key, flow := range f.halves() {
				if flow.Head.Seen < created || flow.Head.Created != created {
					t.Errorf("%+v was not brought up to date: %+v", key, flow.Head)
				}
			}
		}
	})
}

// TestFlowsTellTheTime covers that flows are dated by CLOCK_MONOTONIC, as far
// as a clock that moves by ticks can be.
func TestFlowsTellTheTime(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		before := uptime(t)
		c := f.converse(f.a.udp(40000, f.remote.at(53)))
		after := uptime(t)
		if created := f.half(c.forward).Head.Created; created+1 < before || created > after+1 {
			t.Errorf("created at %d s, sent between %d and %d", created, before, after)
		}
	})
}

// TestStates covers what each packet adds to a flow's state, in both halves.
func TestStates(t *testing.T) {
	const out, in = true, false
	type step struct {
		out   bool
		flags uint8
		want  uint8
	}
	const established = flowReplied | flowConfirmed
	handshake := []step{{out, syn, 0}, {in, syn | ack, flowReplied}, {out, ack, established}}
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, steps := range map[string][]step{
			"data":                                  {{in, ack | psh, established}, {out, ack, established}},
			"a closes":                              {{out, fin | ack, established | flowFINForward}, {in, ack, established | flowFINForward}, {in, fin | ack, established | flowFINForward | flowFINReply}, {out, ack, established | flowFINForward | flowFINReply}},
			"peer closes":                           {{in, fin | ack, established | flowFINReply}, {out, ack, established | flowFINReply}},
			"a resets":                              {{out, rst, established | flowReset}},
			"peer resets":                           {{in, rst | ack, established | flowReset}},
			"RST out of the window, then data":      {{in, rst, established | flowReset}, {in, ack | psh, established}},
			"RST out of the window, then an answer": {{in, rst, established | flowReset}, {out, ack, established}},
			"half closed, RST out of the window, data":  {{out, fin | ack, established | flowFINForward}, {in, rst, established | flowFINForward | flowReset}, {in, ack, established | flowFINForward}},
			"SYN again, in the middle, changes nothing": {{out, syn, established}},
		} {
			c := f.converseTCP()
			for _, s := range append(handshake[1:], steps...) {
				if s.out {
					c.sends(s.flags)
				} else {
					c.receives(s.flags)
				}
				f.expectState(name, s.want)
			}
			f.evictAll()
		}
	})
}

// TestHandshakesOfOtherOrder covers simultaneous opens (RFC 9293 3.5) and handshakes
// whose answer comes in two: both pass, and are established by what acknowledges a SYN.
func TestHandshakesOfOtherOrder(t *testing.T) {
	const out, in = true, false
	type step struct {
		out   bool
		flags uint8
		want  uint8
	}
	const established = flowReplied | flowConfirmed
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, steps := range map[string][]step{
			"simultaneous": {{in, syn, flowReplied}, {out, syn | ack, established}, {in, syn | ack, established}},
			"split":        {{in, ack, flowReplied}, {in, syn, flowReplied}, {out, syn | ack, established}, {in, ack, established}},
		} {
			c := f.converseTCP()
			for _, s := range steps {
				verdict := uint32(redirect)
				if s.out {
					verdict, _ = c.sends(s.flags)
				} else {
					verdict = c.receives(s.flags)
				}
				if verdict != redirect {
					t.Errorf("%s: verdict %d", name, int32(verdict))
				}
				f.expectState(name, s.want)
			}
			f.evictAll()
		}
	})
}

// TestSYNOnClosingFlow covers a client that uses its port again at once.
func TestSYNOnClosingFlow(t *testing.T) {
	const bothFINs = flowFINForward | flowFINReply
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, test := range map[string]struct {
			state uint8
			anew  bool
		}{
			"reset":       {flowReplied | flowConfirmed | flowReset, true},
			"both FINs":   {flowReplied | flowConfirmed | bothFINs, true},
			"one FIN":     {flowReplied | flowConfirmed | flowFINForward, false},
			"established": {flowReplied | flowConfirmed, false},
			"opening":     {0, false},
		} {
			c := f.converseTCP()
			setState := func(head *datapath.FlowHead) { head.State = test.state; head.Created -= 100 }
			f.editHeads(setState)
			created := f.half(c.forward).Head.Created
			if verdict, _ := c.sends(syn); verdict != redirect {
				t.Errorf("%s: verdict %d", name, int32(verdict))
			}
			if anew := f.half(c.forward).Head.Created != created; anew != test.anew {
				t.Errorf("%s: a new flow: %v, want %v", name, anew, test.anew)
			}
			if len(f.halves()) != 2 {
				t.Errorf("%s: %d halves", name, len(f.halves()))
			}
			if test.anew {
				f.expectState(name, 0)
			}

			request := f.client.tcp(40000, at(f.host, published), syn)
			f.fromOutside(request)
			f.editHeads(setState)
			verdict, out := f.fromOutside(request)
			f.expect(name+", published", verdict, out, redirect, request.hop().to(f.a.at(target)).delivered(f.a))
			if state := f.half(keyOf(request, datapath.ZoneOutside)).Head.State; test.anew && state != 0 {
				t.Errorf("%s, published: state %#x", name, state)
			}
			f.evictAll()
		}
	})
}

// TestForgedResetAndSYN covers somebody outside who knows a connection's
// addresses and ports, but not its window: RFC 5961 3.2 and 4.2 leave it to the
// container to refuse what it says.
func TestForgedResetAndSYN(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		c := f.converseTCP()
		c.receives(syn | ack)
		c.sends(ack)
		created := f.half(c.forward).Head.Created
		c.receives(rst)
		if verdict := c.receives(syn); verdict != redirect {
			t.Errorf("the SYN: verdict %d, want the container's", int32(verdict))
		}
		if verdict, _ := c.sends(ack | psh); verdict != redirect {
			t.Errorf("data after it: verdict %d", int32(verdict))
		}
		f.expectState("data after it", flowReplied|flowConfirmed)
		if got := f.half(c.forward).Head.Created; got != created {
			t.Errorf("another flow, of %d, not of %d", got, created)
		}
	})
}

// TestForgedResetOfIdleConnection covers a reset out of the window while a
// connection has nothing to say: what it says later is its flow's, as long as
// nobody else has taken the port.
func TestForgedResetOfIdleConnection(t *testing.T) {
	const established = flowReplied | flowConfirmed
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, test := range map[string]struct {
			seconds uint32
			flags   uint8
			alive   bool
		}{
			"data":                     {3600, ack | psh, true},
			"an acknowledgement":       {3600, ack, true},
			"a FIN":                    {3600, fin | ack, true},
			"a reset":                  {3600, rst, false},
			"a SYN":                    {3600, syn, false},
			"data, after all timeouts": {7441, ack | psh, false},
		} {
			c := f.converseTCP()
			f.editHeads(func(head *datapath.FlowHead) { head.State = established | flowReset })
			f.age(test.seconds)
			if alive := c.receives(test.flags) == redirect; alive != test.alive {
				t.Errorf("%s: the flow goes on: %v, want %v", name, alive, test.alive)
			}
			f.evictAll()
		}
	})
}

// TestRemovalEndsFlows covers generations: the next packet of a flow whose
// endpoint or rule was removed is nobody's.
func TestRemovalEndsFlows(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, remove := range map[string]func(){
			"endpoint": func() { must(t, f.maps.ClearEndpoint(f.a.index)) },
			"rule":     func() { must(t, f.maps.ClearRule(masqueradeOne)) },
			"replaced": func() { must(t, f.maps.ClearEndpoint(f.a.index)); f.set(f.a, true, true) },
		} {
			c := f.converse(f.a.udp(40000, f.remote.at(53)))
			c.expectAlive(name)
			remove()
			c.expectDead(name)
			f.set(f.a, true, true)
			must(t, f.maps.SetRule(masqueradeOne, maps.Rule{Kind: maps.RuleMasquerade, Network: networkOne}))
		}
		request := f.client.tcp(40000, at(f.host, published), syn)
		f.fromOutside(request)
		must(t, f.maps.ClearRule(publishTCP))
		request.flags = ack
		verdict, out := f.fromOutside(request)
		f.expect("unpublished", verdict, out, next, request)
		f.expectNoFlows()
	})
}

// TestChangesKeepFlows covers what is written again: flows go on.
func TestChangesKeepFlows(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		c := f.converse(f.a.udp(40000, f.remote.at(53)))
		f.set(f.a, true, true)
		must(t, f.maps.SetRule(masqueradeOne, maps.Rule{Kind: maps.RuleMasquerade, Network: networkOne}))
		c.expectAlive("endpoint and rule set again")
		f.set(f.a, false, true)
		f.dropsFromOutside(c.answer, reasons.NotReady)
		f.set(f.a, true, true)
		c.expectAlive("ready again")
	})
}
