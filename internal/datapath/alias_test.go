package datapath_test

import (
	"net"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

const (
	aliasIndex = 5
	aliasRule  = 7
)

// alias gives the first network an alias with members.
func (f *fixture) alias(members ...endpoint) {
	f.t.Helper()
	must(f.t, f.maps.SetRule(aliasRule, maps.Rule{Kind: maps.RuleAlias, Network: networkOne}))
	indexes := []uint32{}
	for _, m := range members {
		f.set(m, true, true)
		indexes = append(indexes, m.index)
	}
	must(f.t, f.maps.SetAlias(aliasIndex, maps.Alias{
		Network: networkOne, Addr: ipv4.vip, Addr6: ipv6.vip, Rule: aliasRule, Members: indexes,
	}))
}

// TestAliasInTurn covers a container's flows to an alias: each goes to the
// next member, its packets stay with that one, and answers come from the VIP.
func TestAliasInTurn(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		d := f.third()
		f.alias(f.a, f.b)
		flows := uint64(0)
		for name, sent := range map[string]frame{
			"tcp":  d.tcp(40000, at(f.vip, 80), syn),
			"udp":  d.udp(40000, at(f.vip, 80)),
			"echo": d.echo(40000, f.vip),
		} {
			for i, member := range []endpoint{f.a, f.b, f.a} {
				sent := sent
				if sent.isICMP() {
					sent = sent.echoID(40000 + uint16(i))
				} else {
					sent.sport += uint16(i)
				}
				for _, what := range []string{"request", "request again"} {
					verdict, out := f.fromContainer(d, sent)
					f.expect(name+", "+what, verdict, out, redirect, sent.to(member.at(sent.dport)).delivered(member))
				}
				answer := sent.to(member.at(sent.dport)).answer(member.station, syn|ack)
				verdict, out := f.fromContainer(member, answer)
				f.expect(name+", answer", verdict, out, redirect, answer.from(at(f.vip, answer.sport)).delivered(d))
				flows++
			}
			f.fromContainer(d, sent.again()) // so that the next protocol begins with a
			flows++
		}
		counters, err := f.maps.RuleCounters(aliasRule)
		must(t, err)
		expectEqual(t, "flows", counters.Flows, flows)
		selections, err := f.maps.AliasSelections(aliasIndex)
		must(t, err)
		expectEqual(t, "selections", selections, flows)
	})
}

// again is a frame of another flow.
func (f frame) again() frame {
	f.sport += 100
	if f.isICMP() {
		return f.echoID(f.sport)
	}
	return f
}

// TestAliasFlow covers what the table holds of a flow to an alias.
func TestAliasFlow(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		d := f.third()
		f.alias(f.b)
		sent := d.tcp(40000, at(f.vip, 80), syn)
		inside := sent.to(f.b.at(80))
		f.fromContainer(d, sent)
		head := datapath.FlowHead{
			Direction: directionForward, Target: targetEndpoint, BackTarget: targetPeer,
			BackZone: networkOne, Endpoint: uint16(f.b.index), Peer: uint16(d.index), Rule: aliasRule,
		}
		back := head
		back.Direction, back.Target, back.BackTarget = directionReply, targetPeer, targetEndpoint
		f.expectFlows(conntrack{
			keyOf(sent, networkOne):                          halfOf(inside, head),
			keyOf(inside.answer(f.b.station, 0), networkOne): halfOf(sent.answer(f.b.station, 0), back),
		})
	})
}

// TestAliasByItsMember covers a member that is chosen for itself: it sees the
// VIP as its d.
func TestAliasByItsMember(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		f.alias(f.a)
		for name, sent := range map[string]frame{
			"tcp":  f.a.tcp(40000, at(f.vip, 80), syn),
			"udp":  f.a.udp(40000, at(f.vip, 80)),
			"echo": f.a.echo(40000, f.vip),
		} {
			verdict, out := f.fromContainer(f.a, sent)
			inside := sent.from(at(f.vip, sent.sport)).to(f.a.at(sent.dport)).delivered(f.a)
			f.expect(name+", request", verdict, out, redirect, inside)
			answer := inside.answer(f.a.station, syn|ack)
			verdict, out = f.fromContainer(f.a, answer)
			f.expect(name+", answer", verdict, out, redirect, answer.from(at(f.vip, answer.sport)).to(f.a.at(answer.dport)).delivered(f.a))
		}
		// From the port that it asks for, its own answer would be a request.
		sent := f.a.udp(53, at(f.vip, 53))
		verdict, out := f.fromContainer(f.a, sent)
		port := sourcePort(out)
		f.expect("same port", verdict, out, redirect, sent.from(at(f.vip, port)).to(f.a.at(53)).delivered(f.a))
		if port == 53 {
			t.Error("the flow and its answers have one key")
		}
	})
}

// TestAliasFromHost covers the host's own sockets: they are not a hop away,
// and the bridge finds the member by its MAC address.
func TestAliasFromHost(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		f.alias(f.a, f.b)
		gateway := station{gatewayMAC, vipMAC, f.gatewayOne}
		for name, sent := range map[string]frame{
			"tcp":      gateway.tcp(40000, at(f.vip, 80), syn),
			"udp":      gateway.udp(40000, at(f.vip, 80)),
			"echo":     gateway.echo(40000, f.vip),
			"uplink's": station{gatewayMAC, vipMAC, f.host}.tcp(40000, at(f.vip, 80), syn),
			"loopback": station{gatewayMAC, vipMAC, f.loop}.tcp(40000, at(f.vip, 80), syn),
		} {
			for i, member := range []endpoint{f.a, f.b} {
				sent := sent
				sent.sport += uint16(i)
				if sent.isICMP() {
					sent = sent.echoID(sent.sport)
				}
				verdict, out := f.fromHost(sent)
				inside := sent.to(member.at(sent.dport))
				inside.dstMAC = member.mac
				if sent.src.IsLoopback() {
					inside = inside.from(at(f.gatewayOne, sourcePort(out)))
				}
				f.expect(name+", request", verdict, out, next, inside)
				answer := inside.answer(member.station, syn|ack)
				verdict, out = f.fromContainer(member, answer)
				back := answer.from(at(f.vip, answer.sport))
				if sent.src.IsLoopback() {
					back = back.to(at(sent.src, sent.sport))
				}
				f.expectAtHost(name+", answer", verdict, out, back)
				verdict, out = f.fromHost(sent)
				f.expect(name+", request again", verdict, out, next, inside)
			}
		}
	})
}

// TestAliasAvoidsTheHostsConnections covers a host that talks to a member itself
// from the port that it then asks the alias from (nf_nat_edemux.sh): the answers
// would be one's and the other's. A socket that is not connected has no such
// answers.
func TestAliasAvoidsTheHostsConnections(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		f.alias(f.a)
		gateway := station{gatewayMAC, vipMAC, f.gatewayOne}
		own := func(port uint16) net.Addr { return net.UDPAddrFromAddrPort(at(f.gatewayOne, port)) }
		connected, err := net.DialUDP(f.network("udp"), own(40000).(*net.UDPAddr), net.UDPAddrFromAddrPort(f.a.at(53)))
		must(t, err)
		defer connected.Close()
		bound, err := net.ListenPacket(f.network("udp"), own(40001).String())
		must(t, err)
		defer bound.Close()
		for port, kept := range map[uint16]bool{40000: false, 40001: true, 40002: true} {
			sent := gateway.udp(port, at(f.vip, 53))
			verdict, out := f.fromHost(sent)
			inside := sent.from(at(f.gatewayOne, sourcePort(out))).to(f.a.at(53))
			inside.dstMAC = f.a.mac
			f.expect("request", verdict, out, next, inside)
			if (inside.sport == port) != kept {
				t.Errorf("from port %d: the member sees port %d", port, inside.sport)
			}
			answer := inside.answer(f.a.station, 0)
			verdict, out = f.fromContainer(f.a, answer)
			f.expect("answer", verdict, out, next, answer.from(at(f.vip, 53)).to(at(f.gatewayOne, port)))
		}
	})
}

// TestAliasMemberLeaves covers members that change: established flows stay,
// new ones go to those that are left, and one whose endpoint is gone is
// taken over by another at its next datagram.
func TestAliasMemberLeaves(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		d := f.third()
		f.alias(f.a, f.b)
		first := d.udp(40000, at(f.vip, 53))
		expectMember := func(what string, sent frame, member endpoint) {
			t.Helper()
			verdict, out := f.fromContainer(d, sent)
			f.expect(what, verdict, out, redirect, sent.to(member.at(53)).delivered(member))
		}
		expectMember("first", first, f.a)
		f.alias(f.b)
		expectMember("drained", first, f.a)
		expectMember("new", d.udp(40001, at(f.vip, 53)), f.b)
		expectMember("another", d.udp(40002, at(f.vip, 53)), f.b)
		must(t, f.maps.ClearEndpoint(f.a.index))
		expectMember("its member gone", first, f.b)
		must(t, f.maps.ClearRule(aliasRule))
		must(t, f.maps.ClearAlias(aliasIndex, ipv4.vip, ipv6.vip))
		for _, port := range []uint16{40000, 40001, 40002} {
			sent := d.udp(port, at(f.vip, 53))
			f.dropsFrom(d, sent, reasons.NoEndpoint)
		}
		f.expectNoFlows()
	})
}

// TestAliasesWithOneMember covers two aliases that lead one client's port to
// the same port of a member: the second flow gets another source port.
func TestAliasesWithOneMember(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		d := f.third()
		f.alias(f.a)
		other := f.otherVIP
		must(t, f.maps.SetRule(aliasRule+1, maps.Rule{Kind: maps.RuleAlias, Network: networkOne}))
		must(t, f.maps.SetAlias(aliasIndex+1, maps.Alias{
			Network: networkOne, Addr: ipv4.otherVIP, Addr6: ipv6.otherVIP, Rule: aliasRule + 1, Members: []uint32{f.a.index},
		}))
		f.fromContainer(d, d.tcp(40000, at(f.vip, 80), syn))
		sent := d.tcp(40000, at(other, 80), syn)
		verdict, out := f.fromContainer(d, sent)
		port := sourcePort(out)
		inside := sent.from(d.at(port)).to(f.a.at(80)).delivered(f.a)
		f.expect("second", verdict, out, redirect, inside)
		if port == 40000 {
			t.Error("two flows have one answer")
		}
		answer := inside.answer(f.a.station, syn|ack)
		verdict, out = f.fromContainer(f.a, answer)
		f.expect("answer", verdict, out, redirect, answer.from(at(other, 80)).to(d.at(40000)).delivered(d))
	})
}

func TestAliasDrops(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		d := f.third()
		f.alias(f.a)
		f.dropsFrom(d, laterFragment(d.udp(1, at(f.vip, 53))), reasons.Fragment)
		f.dropsFrom(d, withProtocol(d.udp(1, at(f.vip, 53)), layers.IPProtocolGRE), reasons.Protocol)
		f.dropsFrom(f.c, f.c.tcp(1, at(f.vip, 80), syn), reasons.Isolation)
		f.set(f.a, false, true)
		f.dropsFrom(d, d.tcp(1, at(f.vip, 80), syn), reasons.NotReady)
		f.alias()
		f.dropsFrom(d, d.tcp(1, at(f.vip, 80), syn), reasons.NoMember)
		f.dropsFromHost(station{gatewayMAC, vipMAC, f.gatewayOne}.tcp(1, at(f.vip, 80), syn), reasons.NoMember)
		f.expectNoFlows()
	})
}

// TestAliasTurnsOfFamilies covers that each family has its own turn.
func TestAliasTurnsOfFamilies(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv4, loader.Config{})
	d := f.third()
	f.alias(f.a, f.b)
	d6 := d
	d6.addr = d.other
	for port, turn := range []struct {
		to     frame
		member uint32
	}{
		{d.udp(0, at(ipv4.vip, 53)), f.a.index}, {d6.udp(0, at(ipv6.vip, 53)), f.a.index}, {d6.udp(0, at(ipv6.vip, 53)), f.b.index},
		{d.udp(0, at(ipv4.vip, 53)), f.b.index}, {d6.udp(0, at(ipv6.vip, 53)), f.a.index},
	} {
		sent := turn.to
		sent.sport = 40000 + uint16(port)
		f.fromContainer(d, sent)
		if got := f.half(keyOf(sent, networkOne)).Head.Endpoint; got != uint16(turn.member) {
			t.Errorf("connection %d, to %s: endpoint %d, want %d", port, sent.dst, got, turn.member)
		}
	}
}
