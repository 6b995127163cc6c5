package model

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
)

// Bits of a flow's state, and where a half's packets go: bpf/types.h.
const (
	flowReplied, flowConfirmed   = 0x01, 0x02
	flowFINForward, flowFINReply = 0x04, 0x08
	flowReset, flowTenured       = 0x10, 0x20

	targetEndpoint, targetPeer, targetOutside, targetStack = 1, 2, 3, 4
)

// Key is what packets of one direction of a flow have in common before they
// are translated, and where they are seen.
type Key struct {
	Src, Dst     netip.Addr
	Sport, Dport uint16
	Zone         uint16
	Protocol     uint8
	EchoReply    bool
}

// answer is the key of an answer to the key's packets, seen in a zone.
func (k Key) answer(zone uint16) Key {
	k.Src, k.Dst, k.Sport, k.Dport = k.Dst, k.Src, k.Dport, k.Sport
	k.EchoReply = isICMP(k.Protocol) && !k.EchoReply
	k.Zone = zone
	return k
}

func isICMP(protocol uint8) bool {
	return protocol == unix.IPPROTO_ICMP || protocol == unix.IPPROTO_ICMPV6
}

// Flow is both of its halves: a packet of one direction leaves as what the
// other direction's packets answer.
type Flow struct {
	Forward, Back Key
	target        uint8 // of the forward direction
	backTarget    uint8
	hops          uint8

	endpoint, peer, rule reference
	state                uint8
	created              uint32
	seen                 [2]uint32 // when either half was: the forward one's first
}

// reference names an entry that a flow depends on, as it was.
type reference struct{ index, generation uint32 }

// other is the key of the other direction.
func (f *Flow) other(k Key) Key {
	if k == f.Forward {
		return f.Back
	}
	return f.Forward
}

// side is the index of a half in seen.
func (f *Flow) side(k Key) int {
	if k == f.Forward {
		return 0
	}
	return 1
}

// leaves is what a packet of a direction becomes.
func (f *Flow) leaves(k Key) Key { return f.other(k).answer(0) }

// Half is one entry of the conntrack tables.
type Half struct {
	Head    datapath.FlowHead
	To      Key  // what packets become; without a zone
	Tenured bool // whether it is out of the nursery
}

// Halves are the conntrack tables as they must be.
func (m *Model) Halves() map[Key]Half {
	all := map[Key]Half{}
	for key, f := range m.flows {
		all[key] = f.half(key)
	}
	return all
}

func (f *Flow) half(key Key) Half {
	head := datapath.FlowHead{
		Created: f.created, Seen: f.seen[f.side(key)], State: f.state, Target: f.target, BackTarget: f.backTarget,
		BackZone: f.Back.Zone, Hops: f.hops,
		Endpoint: uint16(f.endpoint.index), EndpointGeneration: f.endpoint.generation,
		Peer: uint16(f.peer.index), PeerGeneration: f.peer.generation, Rule: uint16(f.rule.index), RuleGeneration: f.rule.generation,
	}
	if key != f.Forward {
		head.Direction, head.Target, head.BackTarget, head.BackZone = 1, f.backTarget, f.target, f.Forward.Zone
	}
	return Half{head, f.leaves(key), f.state&flowTenured != 0}
}

// Evict takes one half out of the table, as a full one does.
func (m *Model) Evict(key Key) { delete(m.flows, key) }

// timeout is how many seconds a flow lives without a packet: RFC 5382, 4787
// and 5508.
func (f *Flow) timeout() int32 { return f.timeoutIn(f.state) }

// timeoutIn is the same, if the flow were in another state.
func (f *Flow) timeoutIn(state uint8) int32 {
	switch {
	case isICMP(f.Forward.Protocol):
		return 60
	case f.Forward.Protocol == unix.IPPROTO_UDP && state&flowReplied != 0:
		return 300
	case f.Forward.Protocol == unix.IPPROTO_UDP:
		return 120
	case state&flowReset != 0:
		return 10
	case state&(flowFINForward|flowFINReply) != 0:
		return 240
	case state&flowConfirmed != 0:
		return 7440
	}
	return 240
}

// alive says whether the flow of a key is, as it is.
func (m *Model) alive(f *Flow, key Key) bool {
	return m.fresh(f, key, f.timeout()) && m.owned(f)
}

// goesOn says whether a flow is alive for a packet of its own: a reset may be
// one that nobody heeded.
func (m *Model) goesOn(f *Flow, p *packet) bool {
	state := f.state
	if p.flags&(tcpRST|tcpSYN) == 0 {
		state &^= flowReset
	}
	return m.fresh(f, p.key(), f.timeoutIn(state)) && m.owned(f)
}

// fresh says whether the time of a key's half, or of a tenured flow's other one, has
// not run out.
func (m *Model) fresh(f *Flow, key Key, timeout int32) bool {
	in := func(side int) bool { return int32(m.Now-f.seen[side]) <= timeout }
	return in(f.side(key)) || f.state&flowTenured != 0 && m.flows[f.other(key)] == f && in(1-f.side(key))
}

// owned says whether what a flow depends on is still what it was.
func (m *Model) owned(f *Flow) bool {
	return m.ruleGenerations[f.rule.index] == f.rule.generation &&
		m.endpointGenerations[f.endpoint.index] == f.endpoint.generation &&
		(f.peer.index == 0 || m.endpointGenerations[f.peer.index] == f.peer.generation)
}

// find is the live flow of a packet, brought up to date, or nil.
func (m *Model) find(p *packet) *Flow {
	if !p.hasPorts {
		return nil
	}
	key := p.key()
	f := m.flows[key]
	if f == nil {
		return nil
	}
	closing := f.state&flowReset != 0 || finished(f.state)
	reopens := p.protocol == unix.IPPROTO_TCP && p.opens() && closing && (key == f.Forward || p.sender != 0)
	if m.goesOn(f, p) && !reopens && m.touch(f, key, p) {
		return f
	}
	m.end(f, key)
	return nil
}

// peek is the live flow of a key, or nil.
func (m *Model) peek(key Key) *Flow {
	if f := m.flows[key]; f != nil && m.alive(f, key) {
		return f
	}
	return nil
}

// finished says whether both sides have sent their FIN.
func finished(state uint8) bool {
	const both = flowFINForward | flowFINReply
	return state&both == both
}

// touch counts a packet in a flow's state. A flow has proved itself when it was
// answered and taken up again, after its first second, until both sides have
// finished. Where the other half has been
// evicted it comes back; false when its key has gone to another flow.
func (m *Model) touch(f *Flow, key Key, p *packet) bool {
	state := f.next(key == f.Forward, p)
	if f.state == state && m.noteTime(f, f.side(key)) {
		return true
	}
	other := f.other(key)
	lost := m.flows[other] != nil && m.flows[other] != f
	if finished(state) {
		state &^= flowTenured
	} else if state&flowConfirmed != 0 && m.Now-f.created > 1 {
		state |= flowTenured
	}
	if !lost && state&flowConfirmed != 0 && (f.state&flowConfirmed|state&flowTenured) == 0 {
		q := m.queueOf(key)
		q.waiting = append(q.waiting, waiting{key, q.begun})
	}
	f.seen, f.state = [2]uint32{m.Now, m.Now}, state
	return m.bringBack(f, other)
}

// SeenTogether is how many seconds a packet of a tenured flow may leave the other
// half's time alone.
const SeenTogether = 64

// noteTime notes when a packet came that changes nothing else, false when the other
// half has to be told: of a young flow always, of others once in so many seconds.
func (m *Model) noteTime(f *Flow, side int) bool {
	seen := &f.seen[side]
	if *seen != m.Now && (f.state&flowTenured == 0 || (m.Now-f.created)/SeenTogether != (*seen-f.created)/SeenTogether) {
		return false
	}
	*seen = m.Now
	return true
}

// bringBack puts a half back that was evicted; false when its key has gone to
// another flow.
func (m *Model) bringBack(f *Flow, half Key) bool {
	if m.flows[half] == nil {
		m.flows[half] = f
	}
	return m.flows[half] == f
}

// queue is where a family's young flows wait.
type queue struct {
	begun   uint32 // how many flows have
	waiting []waiting
}

// waiting is a half of a flow that was confirmed too young to have proved itself.
type waiting struct {
	key   Key
	begun uint32 // how many flows had begun then
}

// queueOf is that of a key's family.
func (m *Model) queueOf(key Key) *queue {
	if key.Src.Is4() {
		return &m.queues[0]
	}
	return &m.queues[1]
}

// Begin lets flows of both families begin that nobody sees any more.
func (m *Model) Begin(flows uint32) {
	for i := range m.queues {
		m.queues[i].begun += flows
	}
}

// takeOver lets a flow begin, by which the two that have waited for longest prove
// themselves, if they have for long enough; but of TCP alone, whose openers have seen
// an answer, before their first second is over.
func (m *Model) takeOver(q *queue) {
	q.begun++
	for range 2 {
		if len(q.waiting) == 0 || q.begun-q.waiting[0].begun < m.Patience {
			return
		}
		key := q.waiting[0].key
		q.waiting = q.waiting[1:]
		f := m.flows[key]
		switch {
		case f == nil || !f.waits() || !m.alive(f, key):
		case key.Protocol != unix.IPPROTO_TCP && m.Now-f.created <= 1:
			q.waiting = append(q.waiting, waiting{key, q.begun})
		case m.bringBack(f, f.other(key)):
			f.state |= flowTenured
		}
	}
}

// waits says whether a flow would have proved itself but for its age.
func (f *Flow) waits() bool {
	return f.state&(flowConfirmed|flowReset|flowTenured) == flowConfirmed && !finished(f.state)
}

func (f *Flow) next(forward bool, p *packet) uint8 {
	state := f.state
	if !forward {
		state |= flowReplied
	} else if state&flowReplied != 0 && p.flags&tcpRST == 0 && p.flags&(tcpSYN|tcpACK) != tcpSYN {
		state |= flowConfirmed
	}
	if p.protocol != unix.IPPROTO_TCP {
		return state
	}
	if p.flags&tcpRST != 0 {
		return state | flowReset
	}
	state &^= flowReset
	if p.flags&tcpFIN != 0 && forward {
		state |= flowFINForward
	} else if p.flags&tcpFIN != 0 {
		state |= flowFINReply
	}
	return state
}

// end takes away the half at key, and the other one if it is of this flow.
func (m *Model) end(f *Flow, key Key) {
	if other := f.other(key); m.flows[other] == f {
		delete(m.flows, other)
	}
	delete(m.flows, key)
}

// free says whether a key can become a flow's back half: nobody has it, or a
// flow that has died, or this very flow whose forward half was evicted.
func (m *Model) free(f *Flow) bool {
	holder := m.flows[f.Back]
	return holder == nil || !m.alive(holder, f.Back) || holder.other(f.Back) == f.Forward
}

// claim takes the back half's key.
func (m *Model) claim(f *Flow) bool {
	if !m.free(f) {
		return false
	}
	if holder := m.flows[f.Back]; holder != nil {
		m.end(holder, f.Back)
	}
	m.flows[f.Back] = f
	return true
}

// claimPort finds a source port that is free and claims it. Which of those it
// is nobody promises, so the one that the datapath took is asked for first.
func (m *Model) claimPort(f *Flow, ofHost bool) bool {
	take := func(port uint16) bool {
		f.Back.Dport = port
		return (!ofHost || !m.portTaken(f.Back)) && m.claim(f)
	}
	if port, ok := m.Took(f.Forward); ok && m.translates(port) && take(port) {
		return true
	}
	for port := 65535; port > 0; port-- {
		if m.translates(uint16(port)) && take(uint16(port)) {
			return true
		}
	}
	return false
}

// translates says whether a port may be a translated flow's.
func (m *Model) translates(port uint16) bool {
	return port > m.LocalPorts[1] || port >= 1024 && port < m.LocalPorts[0]
}

// portTaken says whether a published port or a socket of the host would get
// the packets of a key.
func (m *Model) portTaken(back Key) bool {
	for _, rule := range m.rules {
		if covers(rule, back.Protocol, back.Dport) {
			return true
		}
	}
	for _, s := range m.Sockets {
		if s.gets(back) {
			return true
		}
	}
	return false
}
