package datapath_test

import (
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
)

var (
	resolverAddr = netip.MustParseAddr("127.0.0.11")
	inSandbox    = station{make([]byte, 6), make([]byte, 6), netip.MustParseAddr("127.0.0.1")}
)

// onLoopback sends a frame through the loopback device of a sandbox.
func (f *fixture) onLoopback(sent frame) (uint32, []byte) {
	f.t.Helper()
	return f.run(datapath.HookResolver, skb{Ifindex: 1}, sent.bytes())
}

// TestResolverSwapsPorts sends queries and their answers; the harness verifies
// the checksums.
func TestResolverSwapsPorts(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv4, loader.Config{})
	asked, bound := netip.AddrPortFrom(resolverAddr, 53), netip.AddrPortFrom(resolverAddr, datapath.ResolverPort)
	ownAddress := inSandbox
	ownAddress.addr = f.a.addr
	for name, query := range map[string]frame{
		"udp":                    inSandbox.udp(40000, asked),
		"tcp":                    inSandbox.tcp(40000, asked, syn),
		"tcp, later":             inSandbox.tcp(40000, asked, psh|ack),
		"from the own address":   ownAddress.udp(40000, asked),
		"from port 53":           inSandbox.udp(53, asked),
		"from the bound port":    inSandbox.udp(datapath.ResolverPort, asked),
		"without a UDP checksum": withoutChecksum(inSandbox.udp(40000, asked)),
		"with options":           withOptions(inSandbox.udp(40000, asked), routerAlert...),
		"the first of fragments": firstFragment(inSandbox.udp(40000, asked)),
		"of TTL 1, which stays":  withTTL(inSandbox.udp(40000, asked), 1),
	} {
		verdict, out := f.onLoopback(query)
		f.expect(name, verdict, out, next, query.to(bound))
		answer := query.to(bound).answer(inSandbox, query.flags)
		verdict, out = f.onLoopback(answer)
		f.expect(name+", the answer", verdict, out, next, answer.from(asked))
	}
}

// TestResolverLeavesTheRest covers what is somebody else's.
func TestResolverLeavesTheRest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv4, loader.Config{})
	local := netip.MustParseAddr("127.0.0.1")
	later := inSandbox.udp(40000, netip.AddrPortFrom(resolverAddr, 53))
	later.offset = 8
	for name, sent := range map[string]frame{
		"another address":                        inSandbox.udp(40000, netip.AddrPortFrom(local, 53)),
		"another port":                           inSandbox.udp(40000, netip.AddrPortFrom(resolverAddr, 54)),
		"the bound port":                         inSandbox.tcp(40000, netip.AddrPortFrom(resolverAddr, datapath.ResolverPort), syn),
		"from port 53":                           inSandbox.udp(40000, netip.AddrPortFrom(local, 40001)).from(netip.AddrPortFrom(resolverAddr, 53)),
		"from the bound port of another address": inSandbox.udp(datapath.ResolverPort, netip.AddrPortFrom(local, 40001)),
		"ping":                                   inSandbox.echo(53, resolverAddr),
		"a later fragment":                       later,
	} {
		verdict, out := f.onLoopback(sent)
		f.expect(name, verdict, out, next, sent)
	}
	other := inSandbox.udp(40000, netip.AddrPortFrom(resolverAddr, 53))
	other.protocol = layers.IPProtocolUDPLite
	verdict, out := f.onLoopback(other)
	f.expect("another protocol", verdict, out, next, other)
	for name, change := range map[string]func(raw []byte){
		"IPv6":                      func(raw []byte) { raw[12], raw[13] = 0x86, 0xdd },
		"a short header":            func(raw []byte) { raw[14] = 0x44 },
		"a length beyond the frame": func(raw []byte) { raw[17]++ },
	} {
		raw := inSandbox.udp(40000, netip.AddrPortFrom(resolverAddr, 53)).bytes()
		change(raw)
		verdict, out := f.run(datapath.HookResolver, skb{Ifindex: 1}, raw)
		if verdict != next || string(out) != string(raw) {
			t.Errorf("%s: verdict %d and\n%x, want it passed\n%x", name, int32(verdict), out, raw)
		}
	}
}
