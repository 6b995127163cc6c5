package datapath_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// TestErrorAboutMasquerade covers errors of routers and of the destination
// itself about what a container has sent (RFC 5508 REQ-4): it gets them, about
// the packet as it had sent it.
func TestErrorAboutMasquerade(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, sent := range map[string]frame{
			"tcp":                  f.a.tcp(40000, f.remote.at(443), syn),
			"udp":                  f.a.udp(40000, f.remote.at(53)),
			"echo":                 f.a.echo(40000, f.remote.addr),
			"udp without checksum": withoutChecksum(f.a.udp(40001, f.remote.at(53))),
			"first fragment":       firstFragment(f.a.udp(40002, f.remote.at(53))),
		} {
			_, out := f.fromContainer(f.a, sent)
			left := sent.hop().masqueraded(f.host, sourcePort(out))
			flows := f.halves()
			for _, sender := range []station{f.client, f.remote} {
				for _, cut := range cuts {
					e := sender.errorAbout(left)
					e.quoted = cut
					verdict, out := f.errorFromOutside(e)
					want := e.translated(sender.addr, f.a.addr, sent.hop(), 1)
					want.mac, want.hop = gatewayMAC, f.a.mac
					f.expectError(fmt.Sprintf("%s, from %s, %d bytes quoted", name, sender.addr, cut), verdict, out, redirect, want)
				}
			}
			expectEqual(t, name+": an error changes no flow: flows", f.halves(), flows)
		}
	})
}

// TestTooBigOnTheWay covers path MTU discovery (RFC 1191, RFC 8201) in every
// direction of every translation: who has sent what is too big learns the MTU, from
// a router on its way or from whoever it was for.
func TestTooBigOnTheWay(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		tooBig := func(from station, about frame, mtu uint16) icmpError {
			e := from.errorAbout(about)
			e.kind, e.code, e.mtu = f.icmp.tooBig, f.icmp.tooBigCode, mtu
			return e
		}
		inward := func(what string, e icmpError, to endpoint, about frame) {
			t.Helper()
			verdict, out := f.errorFromOutside(e)
			want := e.translated(e.addr, to.addr, about, 1)
			want.mac, want.hop = gatewayMAC, to.mac
			f.expectError(what, verdict, out, redirect, want)
		}
		outward := func(what string, e icmpError, from netip.Addr, about frame) {
			t.Helper()
			verdict, out := f.errorFrom(f.a, e)
			f.expectError(what, verdict, out, redirect, e.translated(from, about.src, about, 1))
		}

		sent := f.a.udp(40000, f.remote.at(53))
		_, out := f.fromContainer(f.a, sent)
		left := sent.hop().masqueraded(f.host, sourcePort(out))
		inward("masqueraded", tooBig(f.client, left, 1280), f.a, sent.hop())
		answer := left.answer(f.remote, 0)
		f.fromOutside(answer)
		came := answer.hop().to(at(f.a.addr, 40000)).delivered(f.a)
		outward("the answer to it", tooBig(f.a.station, came, 1400), f.host, answer.hop())

		sent = f.client.tcp(40000, at(f.host, published), syn)
		f.fromOutside(sent)
		inside := sent.hop().to(f.a.at(target)).delivered(f.a)
		outward("to a published port", tooBig(f.a.station, inside, 1400), f.host, sent.hop())
		answer = inside.answer(f.a.station, syn|ack)
		f.fromContainer(f.a, answer)
		left = answer.hop().from(at(f.host, published))
		inward("from a published port", tooBig(f.remote, left, 1280), f.a, answer.hop())

		// No hop lies between a client and a member.
		d := f.third()
		f.alias(f.b)
		sent = d.udp(40000, at(f.vip, 53))
		f.fromContainer(d, sent)
		e := tooBig(f.b.station, sent.to(f.b.at(53)).delivered(f.b), 1400)
		verdict, out := f.errorFrom(f.b, e)
		want := e.translated(f.vip, d.addr, sent, 0)
		want.mac, want.hop = gatewayMAC, d.mac
		f.expectError("to an alias", verdict, out, redirect, want)
	})
}

// TestErrorOfPublished covers errors of a container about what a client has
// sent it by a published port (the client sees the host say so), and errors of
// routers about what the container has answered.
func TestErrorOfPublished(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, sent := range map[string]frame{
			"tcp": f.client.tcp(40000, at(f.host, published), syn),
			"udp": f.client.udp(40000, at(f.host, published)),
		} {
			f.fromOutside(sent)
			inside := sent.hop().to(f.a.at(target)).delivered(f.a)
			for _, cut := range cuts {
				e := f.a.errorAbout(inside)
				e.quoted = cut
				verdict, out := f.errorFrom(f.a, e)
				f.expectError(name+", of the container", verdict, out, redirect, e.translated(f.host, f.client.addr, sent.hop(), 1))
			}
			answer := inside.answer(f.a.station, syn|ack)
			left := answer.hop().from(at(f.host, published))
			for _, cut := range cuts {
				e := f.remote.errorAbout(left)
				e.kind, e.code, e.quoted = f.cast.icmp.timeExceeded, 0, cut
				verdict, out := f.errorFromOutside(e)
				want := e.translated(f.remote.addr, f.a.addr, answer.hop(), 1)
				want.mac, want.hop = gatewayMAC, f.a.mac
				f.expectError(name+", of a router", verdict, out, redirect, want)
			}
		}
	})
}

// TestErrorOfHairpin covers errors between containers that meet by a published
// port of the host.
func TestErrorOfHairpin(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		sent := f.c.udp(40000, at(f.host, published))
		f.fromContainer(f.c, sent)
		inside := sent.hop().to(f.a.at(target)).delivered(f.a)
		e := f.a.errorAbout(inside)
		verdict, out := f.errorFrom(f.a, e)
		want := e.translated(f.host, f.c.addr, sent.hop(), 1)
		want.mac, want.hop = gatewayMAC, f.c.mac
		f.expectError("to the client", verdict, out, redirect, want)

		answer := inside.answer(f.a.station, 0)
		f.fromContainer(f.a, answer)
		back := answer.hop().from(at(f.host, published)).delivered(f.c)
		e = f.c.errorAbout(back)
		verdict, out = f.errorFrom(f.c, e)
		want = e.translated(f.c.addr, f.a.addr, answer.hop(), 1)
		want.mac, want.hop = gatewayMAC, f.a.mac
		f.expectError("to the server", verdict, out, redirect, want)
	})
}

// TestErrorOfAlias covers errors about packets to and from a VIP: no hop lies
// between a client and a member.
func TestErrorOfAlias(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		d := f.third()
		f.alias(f.b)
		sent := d.udp(40000, at(f.vip, 53))
		f.fromContainer(d, sent)
		inside := sent.to(f.b.at(53)).delivered(f.b)
		e := f.b.errorAbout(inside)
		verdict, out := f.errorFrom(f.b, e)
		want := e.translated(f.vip, d.addr, sent, 0)
		want.mac, want.hop = gatewayMAC, d.mac
		f.expectError("of a member", verdict, out, redirect, want)

		answer := inside.answer(f.b.station, 0)
		back := answer.from(at(f.vip, 53)).delivered(d)
		e = d.errorAbout(back)
		verdict, out = f.errorFrom(d, e)
		want = e.translated(d.addr, f.b.addr, answer, 0)
		want.mac, want.hop = gatewayMAC, f.b.mac
		f.expectError("of the client", verdict, out, redirect, want)

		gateway := station{gatewayMAC, vipMAC, f.gatewayOne}
		asked := gateway.udp(40000, at(f.vip, 53))
		f.fromHost(asked)
		answer = asked.to(f.b.at(53)).answer(f.b.station, 0)
		answer.dstMAC = gatewayMAC
		f.fromContainer(f.b, answer)
		e = gateway.errorAbout(answer.from(at(f.vip, 53)))
		verdict, out = f.run(datapath.HookBridge, skb{Ifindex: uint32(f.bridge)}, e.bytes())
		want = e.translated(f.gatewayOne, f.b.addr, answer, 0)
		want.hop = f.b.mac
		f.expectError("of the host", verdict, out, next, want)
	})
}

// TestErrorsOfNoFlow covers errors about what no flow has sent, and those that
// somebody sends about another's.
func TestErrorsOfNoFlow(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		sent := f.a.udp(40000, f.remote.at(53))
		_, out := f.fromContainer(f.a, sent)
		left := sent.hop().from(at(f.host, sourcePort(out)))
		changed := func(change func(*icmpError)) icmpError {
			e := f.client.errorAbout(left)
			change(&e)
			return e
		}
		for name, e := range map[string]icmpError{
			"another port":        f.client.errorAbout(left.with(func(f *frame) { f.sport++ })),
			"a later fragment":    f.client.errorAbout(laterFragment(left)),
			"another protocol":    f.client.errorAbout(withProtocol(left, layers.IPProtocolGRE)),
			"no echo":             f.client.errorAbout(station{addr: f.host}.icmp(f.cast.icmp.question, left.sport, f.remote.addr)),
			"cut too short":       changed(func(e *icmpError) { e.quoted = 7 }),
			"a redirect":          changed(func(e *icmpError) { e.kind = f.cast.icmp.redirect }),
			"to somebody else":    changed(func(e *icmpError) { e.about.src = f.client.addr }),
			"about itself inside": f.client.errorAbout(sent.from(at(f.host, 40000))),
		} {
			verdict, out := f.errorFromOutside(e)
			f.expectError(name, verdict, out, next, e)
		}
		// b tells c's peer that what it had been sent cannot be delivered.
		hairpin := f.c.udp(40000, at(f.host, published))
		f.fromContainer(f.c, hairpin)
		inside := hairpin.hop().to(f.a.at(target)).delivered(f.a)
		forged := f.b.errorAbout(inside)
		f.dropsFrom(f.b, forged.frame(), reasons.SpoofedAddress)
		// An error of a container about nothing: it has nowhere to go.
		e := f.b.errorAbout(f.client.udp(1, f.b.at(1)))
		f.dropsFrom(f.b, e.frame(), reasons.Icmp)
	})
}

// TestErrorAboutOthers is RFC 5927 4.1 for whom a container speaks to: the host, which
// would narrow every network's way to a destination, and its neighbours.
func TestErrorAboutOthers(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		host, gateway, neighbour := station{hostMAC, routerMAC, f.host}, station{gatewayMAC, f.a.mac, f.gatewayOne}, f.b.station
		toRemote := host.udp(40000, f.remote.at(53))
		for _, about := range []frame{
			toRemote, host.icmp(f.cast.icmp.reply, 1, f.remote.addr), gateway.udp(40000, f.b.at(53)), neighbour.udp(40000, f.remote.at(53)),
			laterFragment(gateway.udp(40000, f.a.at(53))),
		} {
			f.dropsFrom(f.a, f.a.errorAbout(about).frame(), reasons.SpoofedAddress)
		}
		short := f.a.message(f.host, f.cast.icmp.unreachable, 0, toRemote.bytes()[ethernet:][:16])
		f.dropsFrom(f.a, short, reasons.SpoofedAddress)

		for _, about := range []frame{gateway.udp(40000, f.a.at(53)), withProtocol(gateway.udp(40000, f.a.at(53)), layers.IPProtocolGRE)} {
			e := f.a.errorAbout(about)
			verdict, out := f.errorFrom(f.a, e)
			f.expectError("about what it was sent: "+about.protocol.String(), verdict, out, next, e)
		}
		if verdict, _ := f.errorFrom(f.a, f.a.errorAbout(neighbour.udp(40000, f.a.at(53)))); verdict != redirect {
			t.Errorf("about what a neighbour has sent it: verdict %d; %v", verdict, f.drops())
		}
	})
}
