package datapath_test

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

var (
	vipAddr = netip.MustParseAddr("172.17.255.254")
	vipMAC  = mustMAC("02:42:ac:11:ff:fe")
)

const (
	aliasIndex = 5
	aliasRule  = 7
)

func vipAddrPort(port uint16) netip.AddrPort { return netip.AddrPortFrom(vipAddr, port) }

// alias gives the first network an alias with members.
func (f *fixture) alias(members ...endpoint) {
	f.t.Helper()
	must(f.t, f.maps.SetRule(aliasRule, maps.Rule{Kind: maps.RuleAlias, Network: networkOne}))
	indexes := []uint32{}
	for _, m := range members {
		f.set(m, true, true)
		indexes = append(indexes, m.index)
	}
	must(f.t, f.maps.SetAlias(aliasIndex, maps.Alias{Network: networkOne, Addr: vipAddr, Rule: aliasRule, Members: indexes}))
}

// third is one more endpoint of the first network, a client of the alias.
func (f *fixture) third() endpoint {
	e := endpoint{station{mustMAC("02:42:ac:11:00:04"), gatewayMAC, netip.MustParseAddr("172.17.0.4")}, 4, networkOne, f.veth("veth-d", nil)}
	f.set(e, true, false)
	return e
}

// TestAliasInTurn covers a container's flows to an alias: each goes to the
// next member, its packets stay with that one, and answers come from the VIP.
func TestAliasInTurn(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	client := f.third()
	f.alias(f.a, f.b)
	flows := uint64(0)
	for name, sent := range map[string]frame{
		"tcp":  client.tcp(40000, vipAddrPort(80), syn),
		"udp":  client.udp(40000, vipAddrPort(80)),
		"echo": client.echo(40000, vipAddr),
	} {
		for i, member := range []endpoint{f.a, f.b, f.a} {
			sent := sent
			if sent.protocol == layers.IPProtocolICMPv4 {
				sent = sent.id(40000 + uint16(i))
			} else {
				sent.sport += uint16(i)
			}
			for _, what := range []string{"request", "request again"} {
				verdict, out := f.fromContainer(client, sent)
				f.expect(name+", "+what, verdict, out, redirect, sent.to(member.at(sent.dport)).delivered(member))
			}
			answer := sent.to(member.at(sent.dport)).answer(member.station, syn|ack)
			verdict, out := f.fromContainer(member, answer)
			f.expect(name+", answer", verdict, out, redirect, answer.from(vipAddrPort(answer.sport)).delivered(client))
			flows++
		}
		f.fromContainer(client, sent.again()) // so that the next protocol begins with a
		flows++
	}
	counters, err := f.maps.RuleCounters(aliasRule)
	must(t, err)
	expectEqual(t, "flows", counters.Flows, flows)
	selections, err := f.maps.AliasSelections(aliasIndex)
	must(t, err)
	expectEqual(t, "selections", selections, flows)
}

// again is a frame of another flow.
func (f frame) again() frame {
	f.sport += 100
	if f.protocol == layers.IPProtocolICMPv4 {
		return f.id(f.sport)
	}
	return f
}

// TestAliasFlow covers what the table holds of a flow to an alias.
func TestAliasFlow(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	client := f.third()
	f.alias(f.b)
	sent := client.tcp(40000, vipAddrPort(80), syn)
	inside := sent.to(f.b.at(80))
	f.fromContainer(client, sent)
	head := datapath.FlowHead{
		Direction: directionForward, Target: targetEndpoint, BackTarget: targetPeer,
		BackZone: networkOne, Endpoint: f.b.index, Peer: client.index, Rule: aliasRule,
	}
	back := head
	back.Direction, back.Target, back.BackTarget = directionReply, targetPeer, targetEndpoint
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{
		keyOf(sent, networkOne):                          halfOf(inside, head),
		keyOf(inside.answer(f.b.station, 0), networkOne): halfOf(sent.answer(f.b.station, 0), back),
	})
}

// TestAliasByItsMember covers a member that is chosen for itself: it sees the
// VIP as its client.
func TestAliasByItsMember(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	f.alias(f.a)
	for name, sent := range map[string]frame{
		"tcp":  f.a.tcp(40000, vipAddrPort(80), syn),
		"udp":  f.a.udp(40000, vipAddrPort(80)),
		"echo": f.a.echo(40000, vipAddr),
	} {
		verdict, out := f.fromContainer(f.a, sent)
		inside := sent.from(vipAddrPort(sent.sport)).to(f.a.at(sent.dport)).delivered(f.a)
		f.expect(name+", request", verdict, out, redirect, inside)
		answer := inside.answer(f.a.station, syn|ack)
		verdict, out = f.fromContainer(f.a, answer)
		f.expect(name+", answer", verdict, out, redirect, answer.from(vipAddrPort(answer.sport)).to(f.a.at(answer.dport)).delivered(f.a))
	}
	// From the port that it asks for, its own answer would be a request.
	sent := f.a.udp(53, vipAddrPort(53))
	verdict, out := f.fromContainer(f.a, sent)
	port := sourcePort(out)
	f.expect("same port", verdict, out, redirect, sent.from(vipAddrPort(port)).to(f.a.at(53)).delivered(f.a))
	if port == 53 {
		t.Error("the flow and its answers have one key")
	}
}

// TestAliasFromHost covers the host's own sockets: they are not a hop away,
// and the bridge finds the member by its MAC address.
func TestAliasFromHost(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	f.alias(f.a, f.b)
	gateway := station{gatewayMAC, vipMAC, gatewayOne}
	for name, sent := range map[string]frame{
		"tcp":          gateway.tcp(40000, vipAddrPort(80), syn),
		"udp":          gateway.udp(40000, vipAddrPort(80)),
		"echo":         gateway.echo(40000, vipAddr),
		"uplink's":     station{gatewayMAC, vipMAC, hostAddr}.tcp(40000, vipAddrPort(80), syn),
		"bound to .53": station{gatewayMAC, vipMAC, netip.MustParseAddr("127.0.0.53")}.tcp(40000, vipAddrPort(80), syn),
	} {
		for i, member := range []endpoint{f.a, f.b} {
			sent := sent
			sent.sport += uint16(i)
			if sent.protocol == layers.IPProtocolICMPv4 {
				sent = sent.id(sent.sport)
			}
			verdict, out := f.fromHost(sent)
			inside := sent.to(member.at(sent.dport))
			inside.dstMAC = member.mac
			if sent.src.IsLoopback() {
				inside = inside.from(netip.AddrPortFrom(gatewayOne, sourcePort(out)))
			}
			f.expect(name+", request", verdict, out, next, inside)
			answer := inside.answer(member.station, syn|ack)
			verdict, out = f.fromContainer(member, answer)
			back := answer.from(vipAddrPort(answer.sport))
			if sent.src.IsLoopback() {
				back = back.to(netip.AddrPortFrom(sent.src, sent.sport))
			}
			f.expect(name+", answer", verdict, out, next, back)
			verdict, out = f.fromHost(sent)
			f.expect(name+", request again", verdict, out, next, inside)
		}
	}
}

// TestAliasMemberLeaves covers members that change: established flows stay,
// new ones go to those that are left, and one whose endpoint is gone is
// taken over by another at its next datagram.
func TestAliasMemberLeaves(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	client := f.third()
	f.alias(f.a, f.b)
	first := client.udp(40000, vipAddrPort(53))
	expectMember := func(what string, sent frame, member endpoint) {
		t.Helper()
		verdict, out := f.fromContainer(client, sent)
		f.expect(what, verdict, out, redirect, sent.to(member.at(53)).delivered(member))
	}
	expectMember("first", first, f.a)
	f.alias(f.b)
	expectMember("drained", first, f.a)
	expectMember("new", client.udp(40001, vipAddrPort(53)), f.b)
	expectMember("another", client.udp(40002, vipAddrPort(53)), f.b)
	must(t, f.maps.ClearEndpoint(f.a.index))
	expectMember("its member gone", first, f.b)
	must(t, f.maps.ClearRule(aliasRule))
	must(t, f.maps.ClearAlias(aliasIndex, vipAddr))
	for _, port := range []uint16{40000, 40001, 40002} {
		sent := client.udp(port, vipAddrPort(53))
		f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(client.ifindex)}, sent.bytes(), reasons.NoEndpoint)
	}
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
}

// TestAliasesWithOneMember covers two aliases that lead one client's port to
// the same port of a member: the second flow gets another source port.
func TestAliasesWithOneMember(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	client := f.third()
	f.alias(f.a)
	other := netip.MustParseAddr("172.17.255.253")
	must(t, f.maps.SetRule(aliasRule+1, maps.Rule{Kind: maps.RuleAlias, Network: networkOne}))
	must(t, f.maps.SetAlias(aliasIndex+1, maps.Alias{Network: networkOne, Addr: other, Rule: aliasRule + 1, Members: []uint32{f.a.index}}))
	f.fromContainer(client, client.tcp(40000, vipAddrPort(80), syn))
	sent := client.tcp(40000, netip.AddrPortFrom(other, 80), syn)
	verdict, out := f.fromContainer(client, sent)
	port := sourcePort(out)
	inside := sent.from(client.at(port)).to(f.a.at(80)).delivered(f.a)
	f.expect("second", verdict, out, redirect, inside)
	if port == 40000 {
		t.Error("two flows have one answer")
	}
	answer := inside.answer(f.a.station, syn|ack)
	verdict, out = f.fromContainer(f.a, answer)
	f.expect("answer", verdict, out, redirect, answer.from(netip.AddrPortFrom(other, 80)).to(client.at(40000)).delivered(client))
}

func TestAliasDrops(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	client := f.third()
	f.alias(f.a)
	from := skb{Ifindex: uint32(client.ifindex)}
	fragment := client.udp(1, vipAddrPort(53))
	fragment.offset = 8
	other := client.udp(1, vipAddrPort(53))
	other.protocol = layers.IPProtocolGRE
	f.expectDrop(datapath.HookContainer, from, fragment.bytes(), reasons.Fragment)
	f.expectDrop(datapath.HookContainer, from, other.bytes(), reasons.Protocol)
	f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(f.c.ifindex)}, f.c.tcp(1, vipAddrPort(80), syn).bytes(), reasons.Isolation)
	f.set(f.a, false, true)
	f.expectDrop(datapath.HookContainer, from, client.tcp(1, vipAddrPort(80), syn).bytes(), reasons.NotReady)
	f.alias()
	f.expectDrop(datapath.HookContainer, from, client.tcp(1, vipAddrPort(80), syn).bytes(), reasons.NoMember)
	f.expectDrop(datapath.HookBridge, skb{Ifindex: uint32(f.bridge)}, station{gatewayMAC, vipMAC, gatewayOne}.tcp(1, vipAddrPort(80), syn).bytes(), reasons.NoMember)
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
}

// TestAliasARP covers requests for a VIP, which no device would answer.
func TestAliasARP(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	f.alias(f.a)
	request := arp(f.b)
	copy(request[38:], vipAddr.AsSlice())
	for name, sender := range map[string]netip.Addr{
		"request": f.b.addr, "probe (RFC 5227)": netip.IPv4Unspecified(),
	} {
		copy(request[28:], sender.AsSlice())
		verdict, out := f.run(datapath.HookContainer, skb{Ifindex: uint32(f.b.ifindex)}, request)
		want := arpReply(vipMAC, vipAddr, f.b.mac, sender)
		if verdict != redirect || !bytes.Equal(out, want) {
			t.Errorf("%s: verdict %d\ngot  %x\nwant %x", name, int32(verdict), out, want)
		}
	}
	copy(request[38:], f.a.addr.AsSlice())
	copy(request[28:], f.b.addr.AsSlice())
	if verdict, _ := f.run(datapath.HookContainer, skb{Ifindex: uint32(f.b.ifindex)}, request); verdict != next {
		t.Errorf("for a neighbour: verdict %d", int32(verdict))
	}
}

func arpReply(mac net.HardwareAddr, addr netip.Addr, toMAC net.HardwareAddr, to netip.Addr) []byte {
	out := append(append(bytes.Clone(toMAC), mac...), 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2)
	out = append(append(out, mac...), addr.AsSlice()...)
	return append(append(out, toMAC...), to.AsSlice()...)
}
