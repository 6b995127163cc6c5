package datapath_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// TestUplinkPasses covers the host's own traffic, which is none of ours.
func TestUplinkPasses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	notForUs := func(sent frame) frame { sent.dstMAC = mustMAC("02:00:00:00:00:77"); return sent }
	fragment := client.udp(1, hostAddrPort(published))
	fragment.offset = 8
	other := client.udp(1, hostAddrPort(published))
	other.protocol = layers.IPProtocolGRE
	unreachable := client.echo(1, hostAddr)
	unreachable.icmp = layers.ICMPv4TypeDestinationUnreachable
	for name, sent := range map[string]frame{
		"unpublished tcp":              client.tcp(1, hostAddrPort(22), syn),
		"unpublished udp":              client.udp(1, hostAddrPort(53)),
		"published, SYN-ACK":           client.tcp(1, hostAddrPort(published), syn|ack),
		"published, ACK":               client.tcp(1, hostAddrPort(published), ack),
		"published, RST":               client.tcp(1, hostAddrPort(published), rst),
		"published, FIN":               client.tcp(1, hostAddrPort(published), fin|ack),
		"published, of another host":   client.tcp(1, remoteAddrPort(published), syn),
		"published, at 127.0.0.1":      client.tcp(1, netip.MustParseAddrPort("127.0.0.1:8080"), syn),
		"published, by broadcast":      client.udp(1, netip.MustParseAddrPort("192.0.2.255:8080")),
		"published, by multicast":      client.udp(1, netip.MustParseAddrPort("224.0.0.1:8080")),
		"published, another's frame":   notForUs(client.tcp(1, hostAddrPort(published), syn)),
		"subnet, another's frame":      notForUs(client.tcp(1, f.a.at(80), syn)),
		"the port below":               client.tcp(1, hostAddrPort(published-1), syn),
		"the port above":               client.tcp(1, hostAddrPort(published+1), syn),
		"echo":                         client.echo(1, hostAddr),
		"echo reply":                   client.echo(1, hostAddr).answer(client, 0).to(hostAddrPort(1)).from(clientAddrPort(1)),
		"later fragment":               fragment,
		"other protocol":               other,
		"destination unreachable":      unreachable,
		"ttl 0, for the host":          func() frame { f := client.udp(1, hostAddrPort(53)); f.ttl = 0; return f }(),
		"martian source, for the host": client.udp(1, hostAddrPort(53)).from(netip.MustParseAddrPort("127.0.0.1:1")),
	} {
		verdict, out := f.fromOutside(sent)
		f.expect(name, verdict, out, next, sent)
	}
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
}

// TestUplinkPassesUnknown covers frames that are not IPv4 or are malformed:
// the stack refuses and counts what it does not want.
func TestUplinkPassesUnknown(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	for name, change := range map[string]func(raw []byte) []byte{
		"ARP":                  func(raw []byte) []byte { copy(raw[12:], []byte{0x08, 0x06}); return raw },
		"VLAN tag":             func(raw []byte) []byte { copy(raw[12:], []byte{0x81, 0x00}); return raw },
		"LLC":                  func(raw []byte) []byte { copy(raw[12:], []byte{0, 40}); return raw },
		"IPv6":                 func(raw []byte) []byte { copy(raw[12:], []byte{0x86, 0xdd}); return raw },
		"truncated TCP header": func(raw []byte) []byte { return shorten(raw, 39) },
		"version 5":            func(raw []byte) []byte { raw[14] = 0x55; return raw },
		"short header":         func(raw []byte) []byte { raw[14] = 0x44; return raw },
		"length beyond frame":  func(raw []byte) []byte { raw[17]++; return raw },
	} {
		raw := change(client.tcp(1, hostAddrPort(published), syn).bytes())
		verdict, out := f.run(datapath.HookUplink, skb{Ifindex: uint32(f.uplink)}, raw)
		if verdict != next || !bytes.Equal(out, raw) {
			t.Errorf("%s: verdict %d and\n%x, want it passed\n%x", name, int32(verdict), out, raw)
		}
	}
}

// TestUplinkDropsUnpublished covers every address of a container network, for
// which nobody outside may route by us.
func TestUplinkDropsUnpublished(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	context := skb{Ifindex: uint32(f.uplink)}
	fragment := client.udp(1, f.a.at(target))
	fragment.offset = 8
	other := client.udp(1, f.a.at(target))
	other.protocol = layers.IPProtocolGRE
	for _, sent := range []frame{
		client.tcp(1, f.a.at(target), syn),
		client.tcp(1, f.a.at(target), ack),
		client.tcp(1, f.a.at(published), syn),
		client.udp(1, f.b.at(53)),
		client.udp(1, f.c.at(53)),
		client.echo(1, f.a.addr),
		client.echo(1, gatewayOne),
		client.tcp(1, netip.AddrPortFrom(gatewayTwo, published), syn),
		client.udp(1, netip.MustParseAddrPort("172.17.99.99:53")),
		client.udp(1, netip.MustParseAddrPort("172.17.255.255:53")),
		fragment,
		other,
	} {
		f.expectDrop(datapath.HookUplink, context, sent.bytes(), reasons.Unpublished)
	}
	tiny := shorten(client.tcp(1, f.a.at(target), syn).bytes(), 28)
	f.expectDrop(datapath.HookUplink, context, tiny, reasons.Unpublished)
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
}

// TestUplinkKeepsZonesApart sends, from outside, what only a container could
// send in its own flow, and the answer from inside another network.
func TestUplinkKeepsZonesApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	sent := f.a.udp(40000, remoteAddrPort(53))
	_, out := f.fromContainer(f.a, sent)
	forged := sent
	forged.srcMAC, forged.dstMAC = routerMAC, hostMAC
	verdict, left := f.fromOutside(forged)
	f.expect("a's packet from outside", verdict, left, next, forged)

	answer := f.c.udp(53, hostAddrPort(sourcePort(out)))
	verdict, left = f.fromContainer(f.c, answer)
	f.expect("the answer from c", verdict, left, next, answer)
	answer = client.udp(53, hostAddrPort(sourcePort(out)))
	verdict, left = f.fromOutside(answer)
	f.expect("an answer from somebody else", verdict, left, next, answer)
}
