package datapath_test

import (
	"bytes"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// TestUplinkPasses covers the host's own traffic, which is none of ours.
func TestUplinkPasses(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		notForUs := func(sent frame) frame { sent.dstMAC = mustMAC("02:00:00:00:00:77"); return sent }
		passes := map[string]frame{}
		for _, group := range f.groups {
			if !f.subnetOne.Contains(group) {
				passes["published, "+group.String()] = f.client.udp(1, at(group, published))
			}
		}
		for _, addr := range f.martians {
			passes["published at "+addr.String()] = f.client.tcp(1, at(addr, published), syn)
			passes["for the host, from "+addr.String()] = f.client.udp(1, at(f.host, 53)).from(at(addr, 1))
		}
		for name, sent := range map[string]frame{
			"unpublished tcp":            f.client.tcp(1, at(f.host, 22), syn),
			"unpublished udp":            f.client.udp(1, at(f.host, 53)),
			"published, SYN-ACK":         f.client.tcp(1, at(f.host, published), syn|ack),
			"published, ACK":             f.client.tcp(1, at(f.host, published), ack),
			"published, RST":             f.client.tcp(1, at(f.host, published), rst),
			"published, FIN":             f.client.tcp(1, at(f.host, published), fin|ack),
			"published, of another host": f.client.tcp(1, f.remote.at(published), syn),
			"published, another's frame": notForUs(f.client.tcp(1, at(f.host, published), syn)),
			"subnet, another's frame":    notForUs(f.client.tcp(1, f.a.at(80), syn)),
			"the port below":             f.client.tcp(1, at(f.host, published-1), syn),
			"the port above":             f.client.tcp(1, at(f.host, published+1), syn),
			"echo":                       f.client.echo(1, f.host),
			"echo reply":                 f.client.icmp(f.cast.icmp.reply, 1, f.host),
			"later fragment":             laterFragment(f.client.udp(1, at(f.host, published))),
			"other protocol":             withProtocol(f.client.udp(1, at(f.host, published)), layers.IPProtocolGRE),
			"destination unreachable":    f.client.icmp(f.cast.icmp.unreachable, 1, f.host),
			"ttl 0, for the host":        withTTL(f.client.udp(1, at(f.host, 53)), 0),
		} {
			passes[name] = sent
		}
		for name, sent := range passes {
			verdict, out := f.fromOutside(sent)
			f.expect(name, verdict, out, next, sent)
		}
		f.expectNoFlows()
	})
}

// TestUplinkPassesUnknown covers frames that are not IP or are malformed:
// the stack refuses and counts what it does not want.
func TestUplinkPassesUnknown(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, change := range map[string]func(raw []byte) []byte{
			"ARP":                  func(raw []byte) []byte { copy(raw[12:], []byte{0x08, 0x06}); return raw },
			"VLAN tag":             func(raw []byte) []byte { copy(raw[12:], []byte{0x81, 0x00}); return raw },
			"LLC":                  func(raw []byte) []byte { copy(raw[12:], []byte{0, 40}); return raw },
			"IPv6 in name":         func(raw []byte) []byte { copy(raw[12:], []byte{0x86, 0xdd}); raw[14] = 0x45; return raw },
			"IPv4 in name":         func(raw []byte) []byte { copy(raw[12:], []byte{0x08, 0x00}); raw[14] = 0x60; return raw },
			"truncated TCP header": func(raw []byte) []byte { return shorten(raw, 19) },
			"version 5":            func(raw []byte) []byte { raw[14] = 0x55; return raw },
			"short header":         func(raw []byte) []byte { raw[14] = 0x44; return raw },
			"length beyond frame":  func(raw []byte) []byte { return raw[:len(raw)-1] },
		} {
			raw := change(f.client.tcp(1, at(f.host, published), syn).bytes())
			verdict, out := f.run(datapath.HookUplink, skb{Ifindex: uint32(f.uplink)}, raw)
			if verdict != next || !bytes.Equal(out, raw) {
				t.Errorf("%s: verdict %d and\n%x, want it passed\n%x", name, int32(verdict), out, raw)
			}
		}
	})
}

// TestUplinkDropsUnpublished covers every address of a container network, for
// which nobody outside may route by us.
func TestUplinkDropsUnpublished(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		context := skb{Ifindex: uint32(f.uplink)}
		udp := f.client.udp(1, f.a.at(target))
		for _, sent := range []frame{
			f.client.tcp(1, f.a.at(target), syn),
			f.client.tcp(1, f.a.at(target), ack),
			f.client.tcp(1, f.a.at(published), syn),
			f.client.udp(1, f.b.at(53)),
			f.client.udp(1, f.c.at(53)),
			f.client.echo(1, f.a.addr),
			f.client.echo(1, f.gatewayOne),
			f.client.tcp(1, at(f.gatewayTwo, published), syn),
			f.client.udp(1, at(f.nobody, 53)),
			f.client.udp(1, at(f.subnetOne.Addr(), 53)),
			f.client.udp(1, at(f.vip, 53)),
			f.client.icmp(f.cast.icmp.unreachable, 1, f.a.addr),
			withMostHeaders(f.client.tcp(1, f.a.at(target), syn)),
			laterFragment(udp),
			withProtocol(udp, layers.IPProtocolGRE),
		} {
			f.expectDrop(datapath.HookUplink, context, sent.bytes(), reasons.Unpublished)
		}
		tiny := shorten(f.client.tcp(1, f.a.at(target), syn).bytes(), 8)
		f.expectDrop(datapath.HookUplink, context, tiny, reasons.Unpublished)
		f.expectNoFlows()
	})
}

// TestUplinkKeepsZonesApart sends, from outside, what only a container could
// send in its own flow, and the answer from inside another network.
func TestUplinkKeepsZonesApart(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		sent := f.a.udp(40000, f.remote.at(53))
		_, out := f.fromContainer(f.a, sent)
		forged := sent
		forged.srcMAC, forged.dstMAC = routerMAC, hostMAC
		verdict, left := f.fromOutside(forged)
		f.expect("a's packet from outside", verdict, left, next, forged)

		answer := f.c.udp(53, at(f.host, sourcePort(out)))
		verdict, left = f.fromContainer(f.c, answer)
		f.expect("the answer from c", verdict, left, next, answer)
		answer = f.client.udp(53, at(f.host, sourcePort(out)))
		verdict, left = f.fromOutside(answer)
		f.expect("an answer from somebody else", verdict, left, next, answer)
	})
}
