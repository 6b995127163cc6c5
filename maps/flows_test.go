package maps_test

import (
	"cmp"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

// timeout is that of every flow of these tests.
func timeout(uint8, uint8) time.Duration { return 100 * time.Second }

func portOf(port uint16) uint16 { return port<<8 | port>>8 }

func ipPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// seconds is the datapath's clock.
func seconds(t *testing.T) uint32 {
	t.Helper()
	now, err := maps.Uptime()
	must(t, err)
	return uint32(now / time.Second)
}

// flow4 puts both halves of a flow into the table: 172.17.0.2:40000 to
// 198.51.100.7:443, which become 192.0.2.1:61000 and the same.
func (k *kernel) flow4(head datapath.FlowHead) (forward, reply datapath.FlowKey4) {
	k.t.Helper()
	return k.flow4Seen(head, head.Seen)
}

// flow4Seen does so where the reply half was seen at another time.
func (k *kernel) flow4Seen(head datapath.FlowHead, replySeen uint32) (forward, reply datapath.FlowKey4) {
	k.t.Helper()
	inside, host, remote := wire("172.17.0.2"), wire("192.0.2.1"), wire("198.51.100.7")
	forward = datapath.FlowKey4{Src: inside, Dst: remote, Sport: portOf(40000), Dport: portOf(443), Zone: 7, Protocol: unix.IPPROTO_TCP}
	reply = datapath.FlowKey4{Src: remote, Dst: host, Sport: portOf(443), Dport: portOf(61000), Protocol: unix.IPPROTO_TCP}
	head.BackZone = reply.Zone
	k.putHalf(4, forward, datapath.Flow4{Head: head, Src: host, Dst: remote, Sport: portOf(61000), Dport: portOf(443)})
	head.BackZone, head.Direction, head.Seen = forward.Zone, datapath.DirectionReply, replySeen
	k.putHalf(4, reply, datapath.Flow4{Head: head, Src: remote, Dst: inside, Sport: portOf(443), Dport: portOf(40000)})
	return forward, reply
}

// echo6 does the same for an echo of IPv6 to a member of an alias.
func (k *kernel) echo6(head datapath.FlowHead) (forward, reply datapath.FlowKey6) {
	k.t.Helper()
	raw := func(s string) datapath.Addr6 { return datapath.Addr6{Bytes: ip(s).As16()} }
	asker, vip, member := raw("fd00::2"), raw("fd00::ff"), raw("fd00::3")
	forward = datapath.FlowKey6{Src: asker, Dst: vip, Sport: portOf(9), Zone: 3, Protocol: unix.IPPROTO_ICMPV6}
	reply = datapath.FlowKey6{Src: member, Dst: asker, Dport: portOf(11), Zone: 3, Protocol: unix.IPPROTO_ICMPV6, EchoReply: 1}
	head.BackZone = 3
	k.putHalf(6, forward, datapath.Flow6{Head: head, Src: asker, Dst: member, Sport: portOf(11)})
	head.Direction = datapath.DirectionReply
	k.putHalf(6, reply, datapath.Flow6{Head: head, Src: vip, Dst: asker, Dport: portOf(9)})
	return forward, reply
}

// flows lists what is there.
func (k *kernel) flows() []maps.Flow {
	k.t.Helper()
	flows, err := k.Flows(timeout)
	must(k.t, err)
	slices.SortFunc(flows, func(a, b maps.Flow) int { return cmp.Compare(a.Protocol, b.Protocol) })
	return flows
}

func TestFlowsOfBothFamilies(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	now := seconds(t)
	const state = datapath.FlowReplied | datapath.FlowConfirmed
	forward4, reply4 := k.flow4(datapath.FlowHead{Created: now - 50, Seen: now - 20, State: state, Endpoint: 5, Rule: 2})
	forward6, reply6 := k.echo6(datapath.FlowHead{Created: now, Seen: now, Endpoint: 5, Peer: 6, Rule: 3})
	want4 := maps.Flow{
		Protocol: unix.IPPROTO_TCP, State: state, Endpoint: 5, Rule: 2, Zone: 7,
		Source: ipPort("172.17.0.2:40000"), Destination: ipPort("198.51.100.7:443"),
		TranslatedSource: ipPort("192.0.2.1:61000"), TranslatedDestination: ipPort("198.51.100.7:443"),
	}
	want6 := maps.Flow{
		Protocol: unix.IPPROTO_ICMPV6, Endpoint: 5, Peer: 6, Rule: 3, Zone: 3, BackZone: 3,
		Source: ipPort("[fd00::2]:9"), Destination: ipPort("[fd00::ff]:0"),
		TranslatedSource: ipPort("[fd00::2]:11"), TranslatedDestination: ipPort("[fd00::3]:0"),
	}
	// Half a flow is the flow too, whichever half it is.
	for _, evict := range []func(){
		func() {},
		func() { k.eraseHalf(4, forward4); k.eraseHalf(6, reply6) },
		func() {
			k.eraseHalf(4, reply4)
			k.flow4(datapath.FlowHead{Created: now - 50, Seen: now - 20, State: state, Endpoint: 5, Rule: 2})
			k.eraseHalf(4, reply4)
		},
	} {
		evict()
		got := k.flows()
		if len(got) != 2 {
			t.Fatalf("%d flows: %+v", len(got), got)
		}
		if idle := got[0].Idle; idle < 19*time.Second || idle > 30*time.Second || got[0].Age != idle+30*time.Second || got[0].Left != 100*time.Second-idle {
			t.Errorf("times: %+v", got[0])
		}
		for i := range got {
			got[i].Age, got[i].Idle, got[i].Left = 0, 0, 0
		}
		equal(t, "of IPv4", got[0], want4)
		equal(t, "of IPv6", got[1], want6)
	}
	if !k.hasHalf(6, forward6) {
		t.Error("listing changed the table")
	}
}

// TestDeadFlowsAreNone covers flows that have timed out, and those whose rule
// or endpoint is not the one that they knew.
func TestDeadFlowsAreNone(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	now := seconds(t)
	alive := datapath.FlowHead{Created: now, Seen: now, Endpoint: 5, Peer: 6, Rule: 2}
	for name, change := range map[string]func(*datapath.FlowHead){
		"timed out":                      func(h *datapath.FlowHead) { h.Seen -= 102 },
		"another rule":                   func(h *datapath.FlowHead) { h.RuleGeneration++ },
		"another endpoint":               func(h *datapath.FlowHead) { h.EndpointGeneration++ },
		"another peer":                   func(h *datapath.FlowHead) { h.PeerGeneration++ },
		"a rule that cannot be":          func(h *datapath.FlowHead) { h.Rule = 1 << 15 },
		"an endpoint that cannot be":     func(h *datapath.FlowHead) { h.Endpoint = 1 << 15 },
		"seen by a CPU that was quicker": nil,
	} {
		head := alive
		want := 0
		if change != nil {
			change(&head)
		} else {
			head.Seen, want = now+2, 1
		}
		forward, reply := k.flow4(head)
		if got := k.flows(); len(got) != want {
			t.Errorf("%s: %+v", name, got)
		}
		k.eraseHalf(4, forward)
		k.eraseHalf(4, reply)
	}
}

// A half that has not heard of the other one's packets does not make its flow idle, nor
// end it.
func TestFlowsAreAsIdleAsTheLaterHalf(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	now := seconds(t)
	for what, ago := range map[string][2]uint32{
		"forward later":             {20, 35},
		"reply later":               {35, 20},
		"the forward half is over":  {150, 20},
		"the reply half is over":    {20, 150},
		"both as late as the other": {20, 20},
	} {
		forward, reply := k.flow4Seen(datapath.FlowHead{Created: now - 200, Seen: now - ago[0]}, now-ago[1])
		flows := k.flows()
		if len(flows) != 1 {
			t.Fatalf("%s: %+v", what, flows)
		}
		if f := flows[0]; f.Idle < 20*time.Second || f.Idle > 30*time.Second || f.Left != 100*time.Second-f.Idle || f.Zone != 7 {
			t.Errorf("%s: %+v", what, f)
		}
		k.eraseHalf(4, forward)
		k.eraseHalf(4, reply)
	}
	k.flow4Seen(datapath.FlowHead{Created: now - 200, Seen: now - 150}, now-150)
	equal(t, "flows of which both halves are over", len(k.flows()), 0)
}

func TestDeleteFlow(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	now := seconds(t)
	k.flow4(datapath.FlowHead{Created: now, Seen: now})
	k.echo6(datapath.FlowHead{Created: now, Seen: now})
	for _, f := range k.flows() {
		for _, want := range []bool{true, false} {
			deleted, err := k.DeleteFlow(f)
			must(t, err)
			equal(t, "deleted", deleted, want)
		}
	}
	equal(t, "halves of IPv4", k.entries("flows4"), 0)
	equal(t, "halves of IPv6", k.entries("flows6"), 0)
}

// TestFlowsWhileTheTableChanges lists flows while others come and go: those
// that stay are each there once.
func TestFlowsWhileTheTableChanges(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	now := seconds(t)
	forward, _ := k.flow4(datapath.FlowHead{Created: now, Seen: now})
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		key, table := forward, k.tenured(4)
		for i := uint16(0); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			key.Sport, key.Zone = i%32, 8
			_, _ = table.Put(raw(t, key), raw(t, datapath.Flow4{Head: datapath.FlowHead{Created: now, Seen: now}, Sport: i}))
			key.Sport = (i + 16) % 32
			_, _ = table.Erase(raw(t, key))
		}
	}()
	for range 200 {
		n := 0
		for _, f := range k.flows() {
			if f.Zone == 7 {
				n++
			}
		}
		equal(t, "the flow that stays", n, 1)
	}
	close(stop)
	<-stopped
}
