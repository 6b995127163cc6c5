package datapath_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// icmpError is an error from a station about a frame: as much of it as fits.
type icmpError struct {
	station
	to         netip.Addr
	kind, code uint8
	about      frame
	quoted     int // bytes of the quoted packet; 0 for all
	ttl        uint8
}

// errorAbout is an error that a station sends to whoever sent the frame.
func (s station) errorAbout(about frame) icmpError {
	return icmpError{station: s, to: about.src, kind: layers.ICMPv4TypeDestinationUnreachable, code: layers.ICMPv4CodePort, about: about, ttl: 64}
}

func (e icmpError) bytes() []byte {
	quoted := e.about.bytes()[14:]
	if e.quoted > 0 {
		quoted = quoted[:e.quoted]
	}
	message := append([]byte{e.kind, e.code, 0, 0, 0, 0, 0, 0}, quoted...)
	binary.BigEndian.PutUint16(message[2:], ^sum16(message))
	f := e.station.frame(layers.IPProtocolICMPv4, 0, netip.AddrPortFrom(e.to, 0))
	f.ttl, f.raw = e.ttl, message
	return f.bytes()
}

// expectError asserts the verdict, and the error that leaves, byte by byte.
func (f *fixture) expectError(what string, verdict uint32, out []byte, wantVerdict uint32, want icmpError) {
	f.t.Helper()
	if verdict != wantVerdict {
		f.t.Fatalf("%s: verdict %d, want %d; drops: %v", what, int32(verdict), int32(wantVerdict), f.drops())
	}
	if !slices.Equal(out, want.bytes()) {
		f.t.Fatalf("%s:\ngot  %x\nwant %x", what, out, want.bytes())
	}
}

// translated is an error after its translation: with other addresses and about
// what the sender had sent.
func (e icmpError) translated(from, to netip.Addr, about frame, hops uint8) icmpError {
	e.addr, e.to, e.about, e.ttl = from, to, about, e.ttl-hops
	return e
}

// cuts are how much of a packet errors quote: all of it, the eight bytes that
// RFC 792 asks for, and up to behind TCP's checksum.
var cuts = []int{0, 28, 40}

// TestErrorAboutMasquerade covers errors of routers and of the destination
// itself about what a container has sent (RFC 5508 REQ-4): it gets them, about
// the packet as it had sent it.
func TestErrorAboutMasquerade(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]func(a endpoint) frame{
		"tcp":  func(a endpoint) frame { return a.tcp(40000, remoteAddrPort(443), syn) },
		"udp":  func(a endpoint) frame { return a.udp(40000, remoteAddrPort(53)) },
		"echo": func(a endpoint) frame { return a.echo(40000, remoteAddr) },
		"udp without checksum": func(a endpoint) frame {
			f := a.udp(40000, remoteAddrPort(53))
			f.noChecksum = true
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, loader.Config{})
			sent := sent(f.a)
			_, out := f.fromContainer(f.a, sent)
			port := sourcePort(out)
			left := sent.hop().from(hostAddrPort(port))
			if sent.protocol == layers.IPProtocolICMPv4 {
				left = left.id(port)
			}
			flows := f.flows()
			for _, sender := range []station{client, remote} {
				for _, cut := range cuts {
					e := sender.errorAbout(left)
					e.quoted = cut
					verdict, out := f.run(datapath.HookUplink, skb{Ifindex: uint32(f.uplink)}, e.bytes())
					want := e.translated(sender.addr, f.a.addr, sent.hop(), 1)
					want.mac, want.hop = gatewayMAC, f.a.mac
					f.expectError(fmt.Sprintf("from %s, %d bytes quoted", sender.addr, cut), verdict, out, redirect, want)
				}
			}
			expectEqual(t, "an error changes no flow: flows", f.flows(), flows)
		})
	}
}

// TestErrorOfPublished covers errors of a container about what a client has
// sent it by a published port (the client sees the host say so), and errors of
// routers about what the container has answered.
func TestErrorOfPublished(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	for name, sent := range map[string]frame{
		"tcp": client.tcp(40000, hostAddrPort(published), syn),
		"udp": client.udp(40000, hostAddrPort(published)),
	} {
		f.fromOutside(sent)
		inside := sent.hop().to(f.a.at(target)).delivered(f.a)
		for _, cut := range cuts {
			e := f.a.errorAbout(inside)
			e.quoted = cut
			verdict, out := f.run(datapath.HookContainer, skb{Ifindex: uint32(f.a.ifindex)}, e.bytes())
			f.expectError(name+", of the container", verdict, out, redirect, e.translated(hostAddr, clientAddr, sent.hop(), 1))
		}
		answer := inside.answer(f.a.station, syn|ack)
		left := answer.hop().from(hostAddrPort(published))
		for _, cut := range cuts {
			e := remote.errorAbout(left)
			e.kind, e.code, e.quoted = layers.ICMPv4TypeTimeExceeded, 0, cut
			verdict, out := f.run(datapath.HookUplink, skb{Ifindex: uint32(f.uplink)}, e.bytes())
			want := e.translated(remoteAddr, f.a.addr, answer.hop(), 1)
			want.mac, want.hop = gatewayMAC, f.a.mac
			f.expectError(name+", of a router", verdict, out, redirect, want)
		}
	}
}

// TestErrorOfHairpin covers errors between containers that meet by a published
// port of the host.
func TestErrorOfHairpin(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	sent := f.c.udp(40000, hostAddrPort(published))
	f.fromContainer(f.c, sent)
	inside := sent.hop().to(f.a.at(target)).delivered(f.a)
	e := f.a.errorAbout(inside)
	verdict, out := f.run(datapath.HookContainer, skb{Ifindex: uint32(f.a.ifindex)}, e.bytes())
	want := e.translated(hostAddr, f.c.addr, sent.hop(), 1)
	want.mac, want.hop = gatewayMAC, f.c.mac
	f.expectError("to the client", verdict, out, redirect, want)

	answer := inside.answer(f.a.station, 0)
	f.fromContainer(f.a, answer)
	back := answer.hop().from(hostAddrPort(published)).delivered(f.c)
	e = f.c.errorAbout(back)
	verdict, out = f.run(datapath.HookContainer, skb{Ifindex: uint32(f.c.ifindex)}, e.bytes())
	want = e.translated(f.c.addr, f.a.addr, answer.hop(), 1)
	want.mac, want.hop = gatewayMAC, f.a.mac
	f.expectError("to the server", verdict, out, redirect, want)
}

// TestErrorOfAlias covers errors about packets to and from a VIP: no hop lies
// between a client and a member.
func TestErrorOfAlias(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	client := f.third()
	f.alias(f.b)
	sent := client.udp(40000, vipAddrPort(53))
	f.fromContainer(client, sent)
	inside := sent.to(f.b.at(53)).delivered(f.b)
	e := f.b.errorAbout(inside)
	verdict, out := f.run(datapath.HookContainer, skb{Ifindex: uint32(f.b.ifindex)}, e.bytes())
	want := e.translated(vipAddr, client.addr, sent, 0)
	want.mac, want.hop = gatewayMAC, client.mac
	f.expectError("of a member", verdict, out, redirect, want)

	answer := inside.answer(f.b.station, 0)
	back := answer.from(vipAddrPort(53)).delivered(client)
	e = client.errorAbout(back)
	verdict, out = f.run(datapath.HookContainer, skb{Ifindex: uint32(client.ifindex)}, e.bytes())
	want = e.translated(client.addr, f.b.addr, answer, 0)
	want.mac, want.hop = gatewayMAC, f.b.mac
	f.expectError("of the client", verdict, out, redirect, want)

	gateway := station{gatewayMAC, vipMAC, gatewayOne}
	asked := gateway.udp(40000, vipAddrPort(53))
	f.fromHost(asked)
	answer = asked.to(f.b.at(53)).answer(f.b.station, 0)
	answer.dstMAC = gatewayMAC
	f.fromContainer(f.b, answer)
	e = gateway.errorAbout(answer.from(vipAddrPort(53)))
	verdict, out = f.run(datapath.HookBridge, skb{Ifindex: uint32(f.bridge)}, e.bytes())
	want = e.translated(gatewayOne, f.b.addr, answer, 0)
	want.hop = f.b.mac
	f.expectError("of the host", verdict, out, next, want)
}

// TestErrorsOfNoFlow covers errors about what no flow has sent, and those that
// somebody sends about another's.
func TestErrorsOfNoFlow(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	sent := f.a.udp(40000, remoteAddrPort(53))
	_, out := f.fromContainer(f.a, sent)
	left := sent.hop().from(hostAddrPort(sourcePort(out)))
	uplink := skb{Ifindex: uint32(f.uplink)}

	other := left
	other.sport++
	later := left
	later.offset = 8
	strange := left
	strange.protocol = layers.IPProtocolGRE
	reply := left
	reply.protocol, reply.icmp = layers.IPProtocolICMPv4, layers.ICMPv4TypeTimestampRequest
	for name, e := range map[string]icmpError{
		"another port":        client.errorAbout(other),
		"a later fragment":    client.errorAbout(later),
		"another protocol":    client.errorAbout(strange),
		"no echo":             client.errorAbout(reply),
		"cut too short":       func() icmpError { e := client.errorAbout(left); e.quoted = 27; return e }(),
		"a redirect":          func() icmpError { e := client.errorAbout(left); e.kind = layers.ICMPv4TypeRedirect; return e }(),
		"to somebody else":    func() icmpError { e := client.errorAbout(left); e.about.src = clientAddr; return e }(),
		"about itself inside": client.errorAbout(sent.from(hostAddrPort(40000))),
	} {
		raw := e.bytes()
		verdict, out := f.run(datapath.HookUplink, uplink, raw)
		if verdict != next || !slices.Equal(out, raw) {
			t.Errorf("%s: verdict %d, and it was changed: %v", name, int32(verdict), !slices.Equal(out, raw))
		}
	}
	// b tells c's peer that what it had been sent cannot be delivered.
	hairpin := f.c.udp(40000, hostAddrPort(published))
	f.fromContainer(f.c, hairpin)
	inside := hairpin.hop().to(f.a.at(target)).delivered(f.a)
	forged := f.b.errorAbout(inside)
	f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(f.b.ifindex)}, forged.bytes(), reasons.SpoofedAddress)
	// An error of a container about nothing: it has nowhere to go.
	e := f.b.errorAbout(client.udp(1, f.b.at(1)))
	f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(f.b.ifindex)}, e.bytes(), reasons.Icmp)
}
