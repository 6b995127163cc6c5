package datapath_test

import (
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// TestNeighbour covers what stays inside a network: delivered as it is, TTL
// included, without conntrack.
func TestNeighbour(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	later := f.b.udp(1, f.a.at(53))
	later.offset = 8
	first := later
	first.offset, first.more = 0, true
	other := f.b.udp(1, f.a.at(53))
	other.protocol = layers.IPProtocolSCTP
	expiring := f.b.udp(1, f.a.at(53))
	expiring.ttl = 1
	for name, sent := range map[string]frame{
		"tcp":               f.b.tcp(1, f.a.at(80), syn),
		"middle of tcp":     f.b.tcp(1, f.a.at(80), ack),
		"udp":               f.b.udp(1, f.a.at(53)),
		"echo":              f.b.echo(1, f.a.addr),
		"first fragment":    first,
		"later fragment":    later,
		"other protocol":    other,
		"ttl 1":             expiring,
		"itself":            f.b.udp(1, f.b.at(53)),
		"published, direct": f.b.tcp(1, f.a.at(published), syn),
	} {
		receiver := f.a
		if sent.dst == f.b.addr {
			receiver = f.b
		}
		verdict, out := f.fromContainer(f.b, sent)
		f.expect(name, verdict, out, redirect, sent.delivered(receiver))
	}
	// A translated endpoint's packets are looked up, and are nobody's.
	sent := f.a.tcp(80, f.b.at(1), syn|ack)
	verdict, out := f.fromContainer(f.a, sent)
	f.expect("from a translated endpoint", verdict, out, redirect, sent.delivered(f.b))
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
}

// TestContainerPasses covers what the bridge and the host's stack receive,
// untouched.
func TestContainerPasses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	fragment := f.b.udp(1, hostAddrPort(53))
	fragment.more = true
	for name, sent := range map[string]frame{
		"to the gateway":          f.b.udp(1, netip.AddrPortFrom(gatewayOne, 53)),
		"to the host":             f.b.tcp(1, hostAddrPort(22), syn),
		"to the host, middle":     f.b.tcp(1, hostAddrPort(22), ack),
		"to a published, middle":  f.b.tcp(1, hostAddrPort(published), ack),
		"echo to the gateway":     f.b.echo(1, gatewayOne),
		"echo to the host":        f.b.echo(1, hostAddr),
		"fragment to the host":    fragment,
		"broadcast":               f.b.udp(68, netip.MustParseAddrPort("255.255.255.255:67")),
		"the network's broadcast": f.b.udp(1, netip.MustParseAddrPort("172.17.255.255:9")),
		"multicast":               f.b.udp(1, netip.MustParseAddrPort("224.0.0.251:5353")),
		"reserved":                f.b.udp(1, netip.MustParseAddrPort("240.0.0.1:9")),
	} {
		verdict, out := f.fromContainer(f.b, sent)
		f.expect(name, verdict, out, next, sent)
	}
	f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
}

// arp is an ARP packet of the endpoint e that asks for the gateway.
func arp(e endpoint) []byte {
	raw := append(append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, e.mac...), 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1)
	raw = append(append(raw, e.mac...), e.addr.AsSlice()...)
	return append(append(raw, 0, 0, 0, 0, 0, 0), gatewayOne.AsSlice()...)
}

func TestContainerARP(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	context := skb{Ifindex: uint32(f.b.ifindex)}
	for name, change := range map[string]func(raw []byte) []byte{
		"request":   func(raw []byte) []byte { return raw },
		"reply":     func(raw []byte) []byte { raw[21] = 2; return raw },
		"probe":     func(raw []byte) []byte { copy(raw[28:], make([]byte, 4)); return raw },
		"announced": func(raw []byte) []byte { copy(raw[38:], raw[28:32]); return raw },
		"padded":    func(raw []byte) []byte { return append(raw, make([]byte, 18)...) },
	} {
		if verdict, _ := f.run(datapath.HookContainer, context, change(arp(f.b))); verdict != next {
			t.Errorf("%s: verdict %d, want it passed", name, int32(verdict))
		}
	}
	for _, test := range []struct {
		name   string
		change func(raw []byte) []byte
		want   reasons.Reason
	}{
		{"truncated", func(raw []byte) []byte { return raw[:41] }, reasons.Malformed},
		{"not Ethernet", func(raw []byte) []byte { raw[15] = 6; return raw }, reasons.Malformed},
		{"not IPv4", func(raw []byte) []byte { raw[16] = 0x86; return raw }, reasons.Malformed},
		{"hardware length", func(raw []byte) []byte { raw[18] = 8; return raw }, reasons.Malformed},
		{"protocol length", func(raw []byte) []byte { raw[19] = 16; return raw }, reasons.Malformed},
		{"another's MAC", func(raw []byte) []byte { raw[27]++; return raw }, reasons.SpoofedArp},
		{"a neighbour's address", func(raw []byte) []byte { raw[31]--; return raw }, reasons.SpoofedArp},
		{"the gateway's address", func(raw []byte) []byte { copy(raw[28:], raw[38:42]); return raw }, reasons.SpoofedArp},
		{"another's frame", func(raw []byte) []byte { raw[11]++; return raw }, reasons.SpoofedMac},
	} {
		f.expectDrop(datapath.HookContainer, context, test.change(arp(f.b)), test.want)
		if t.Failed() {
			t.Fatalf("at %s", test.name)
		}
	}
}
