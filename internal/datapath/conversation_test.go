package datapath_test

import (
	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
)

// conversation is one flow of a through masquerade: what a sends, what the
// other side answers, and the keys of both halves.
type conversation struct {
	f             *fixture
	sent, answer  frame
	forward, back model.Key
}

// converse opens a flow with its first packet.
func (f *fixture) converse(sent frame) conversation {
	f.t.Helper()
	port := f.masqueradePort(sent)
	answer := sent.masqueraded(f.host, port).answer(f.remote, 0)
	return conversation{f, sent, answer, keyOf(sent, networkOne), keyOf(answer, datapath.ZoneOutside)}
}

// converseTCP opens one to port 443.
func (f *fixture) converseTCP() conversation {
	f.t.Helper()
	return f.converse(f.a.tcp(40000, f.remote.at(443), syn))
}

// inItsFirstSecond opens a flow that open has confirmed before it was older than a
// second, which it tries again on a machine that was too slow for that.
func (f *fixture) inItsFirstSecond(open func() conversation) conversation {
	f.t.Helper()
	f.program(datapath.HookContainer) // whose loading takes longer
	f.program(datapath.HookUplink)
	ends := f.waitingEnds()
	for range 10 {
		c := open()
		if head := f.half(c.forward).Head; head.Seen-head.Created <= 1 { // by the programs' clock
			return c
		}
		f.evict(c.forward)
		f.evict(c.back)
		f.setWaitingEnds(ends)
	}
	f.t.Fatal("no flow is confirmed in its first second")
	return conversation{}
}

// sends is the next packet of a; it returns the verdict and the source port.
func (c conversation) sends(flags uint8) (uint32, uint16) {
	c.f.t.Helper()
	sent := c.sent
	sent.flags = flags
	verdict, out := c.f.fromContainer(c.f.a, sent)
	return verdict, sourcePort(out)
}

// receives is the next packet for a.
func (c conversation) receives(flags uint8) uint32 {
	c.f.t.Helper()
	answer := c.answer
	answer.flags = flags
	verdict, _ := c.f.fromOutside(answer)
	return verdict
}

// expectAlive asserts that a packet of the other side still reaches a.
func (c conversation) expectAlive(what string) {
	c.f.t.Helper()
	if verdict := c.receives(ack); verdict != redirect {
		c.f.t.Errorf("%s: verdict %d, want the flow alive", what, int32(verdict))
	}
}

// expectDead asserts that a packet of the other side is nobody's, a reset, which
// brings nothing back, and that the flow leaves nothing behind.
func (c conversation) expectDead(what string) {
	c.f.t.Helper()
	if verdict := c.receives(rst); verdict != next {
		c.f.t.Errorf("%s: verdict %d, want the flow dead", what, int32(verdict))
	}
	if n := len(c.f.halves()); n != 0 {
		c.f.t.Errorf("%s: %d halves are left", what, n)
	}
}
