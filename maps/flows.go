package maps

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
)

// Flow is a flow of the conntrack table, both directions in one.
type Flow struct {
	Protocol uint8 // IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6
	State    uint8 // bits of datapath.FlowReplied and the like

	// What packets of the forward direction look like before translation and
	// after it. An ICMP echo has its identifier as the source's port, and 0 as
	// the destination's.
	Source, Destination                     netip.AddrPort
	TranslatedSource, TranslatedDestination netip.AddrPort
	// Zone and BackZone are where packets of the two directions are seen: a
	// network's index, datapath.ZoneOutside or datapath.ZoneHost.
	Zone, BackZone uint16

	// Indexes: the endpoint that is translated, the one at the other end if
	// that is a container, the rule that made the flow.
	Endpoint, Peer, Rule uint32

	// Age is how long ago the flow began, Idle how long ago its last packet was
	// seen, and Left when it ends unless another comes. They are exact to a
	// second or two.
	Age, Idle, Left time.Duration
}

// forward and reply are the keys of the flow's halves.
func (f Flow) forward() halfKey {
	return halfKey{src: f.Source, dst: f.Destination, zone: f.Zone, protocol: f.Protocol}
}

func (f Flow) reply() halfKey {
	return halfKey{
		src: f.TranslatedDestination, dst: f.TranslatedSource, zone: f.BackZone, protocol: f.Protocol,
		echoReply: f.Protocol == unix.IPPROTO_ICMP || f.Protocol == unix.IPPROTO_ICMPV6,
	}
}

// flowOf is the flow that a half belongs to.
func flowOf(h half) Flow {
	f := Flow{
		Protocol: h.key.protocol, State: h.head.State,
		Endpoint: uint32(h.head.Endpoint), Peer: uint32(h.head.Peer), Rule: uint32(h.head.Rule),
	}
	if h.head.Direction == datapath.DirectionForward {
		f.Source, f.Destination, f.Zone = h.key.src, h.key.dst, h.key.zone
		f.TranslatedSource, f.TranslatedDestination, f.BackZone = h.src, h.dst, h.head.BackZone
	} else {
		f.Source, f.Destination, f.Zone = h.dst, h.src, h.head.BackZone
		f.TranslatedSource, f.TranslatedDestination, f.BackZone = h.key.dst, h.key.src, h.key.zone
	}
	return f
}

// Flows returns the flows that are alive, each once, in no order. timeout says
// how long a flow lives without packets. It walks the tables in batches, which
// neither stop nor repeat when the datapath changes them meanwhile.
func (m *Maps) Flows(timeout func(protocol, state uint8) time.Duration) ([]Flow, error) {
	uptime, err := Uptime()
	if err != nil {
		return nil, err
	}
	r := flowReader{
		now:         uint32(uptime / time.Second),
		timeout:     timeout,
		generations: m.newGenerations(),
		at:          map[halfKey]int{},
	}
	for _, t := range flowTables {
		if err := t.halves(m, r.add); err != nil {
			return nil, err
		}
	}
	return r.flows, r.generations.err
}

// flowReader puts flows together from halves.
type flowReader struct {
	now         uint32 // seconds of the datapath's clock
	timeout     func(protocol, state uint8) time.Duration
	generations *generations
	at          map[halfKey]int // of each flow, by its forward half
	flows       []Flow
}

// add takes a half. Its flow is there once the first of its halves is: either
// brings the other back when that was evicted. Both are as idle as the one that has
// seen a packet last, which tells the other one late.
func (r *flowReader) add(h half) {
	f := flowOf(h)
	// Signed: another CPU may have seen the flow after we read the clock.
	f.Age = time.Duration(max(0, int32(r.now-h.head.Created))) * time.Second
	f.Idle = time.Duration(max(0, int32(r.now-h.head.Seen))) * time.Second
	f.Left = r.timeout(f.Protocol, f.State) - f.Idle
	if f.Left < 0 || !r.generations.alive(&h.head) {
		return
	}
	at, known := r.at[f.forward()]
	if !known {
		r.at[f.forward()] = len(r.flows)
		r.flows = append(r.flows, f)
	} else if f.Idle < r.flows[at].Idle {
		r.flows[at] = f
	}
}

// generations are those of rules and endpoints now, read when they are first
// asked for.
type generations struct {
	maps             *Maps
	rules, endpoints map[uint32]generation
	err              error // the first
}

// generation is that of an index, if the index can be.
type generation struct {
	number uint32
	known  bool
}

func (m *Maps) newGenerations() *generations {
	return &generations{maps: m, rules: map[uint32]generation{}, endpoints: map[uint32]generation{}}
}

// alive reports whether all that a flow depends on is as it was when the flow
// began, as flow_alive of bpf/state.h decides it.
func (g *generations) alive(flow *datapath.FlowHead) bool {
	return g.rule(uint32(flow.Rule)) == generation{flow.RuleGeneration, true} &&
		g.endpoint(uint32(flow.Endpoint)) == generation{flow.EndpointGeneration, true} &&
		(flow.Peer == 0 || g.endpoint(uint32(flow.Peer)) == generation{flow.PeerGeneration, true})
}

func (g *generations) rule(index uint32) generation {
	if _, asked := g.rules[index]; !asked {
		var rule datapath.Rule
		err := g.maps.byName["rules"].Lookup(index, &rule)
		g.rules[index] = g.found(rule.Generation, err)
	}
	return g.rules[index]
}

func (g *generations) endpoint(index uint32) generation {
	if _, asked := g.endpoints[index]; !asked {
		var endpoint datapath.Endpoint
		err := g.maps.byName["endpoints"].Lookup(index, &endpoint)
		g.endpoints[index] = g.found(endpoint.Generation, err)
	}
	return g.endpoints[index]
}

// found is what a lookup has found. An index out of range is nobody's.
func (g *generations) found(number uint32, err error) generation {
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) && g.err == nil {
		g.err = fmt.Errorf("read generations: %w", err)
	}
	return generation{number, err == nil}
}

// deleteRounds bounds how often a packet may bring back half of a flow that is
// being deleted. That happens once a second at most.
const deleteRounds = 4

// DeleteFlow removes both halves of a flow, and reports whether it was there.
// Its next packet is one of no flow, and may open another.
func (m *Maps) DeleteFlow(f Flow) (deleted bool, err error) {
	for range deleteRounds {
		forward, err := m.deleteHalf(f.forward())
		if err != nil {
			return deleted, err
		}
		reply, err := m.deleteHalf(f.reply())
		if err != nil {
			return deleted, err
		}
		if !forward && !reply {
			return deleted, nil
		}
		deleted = true
	}
	return deleted, nil
}
