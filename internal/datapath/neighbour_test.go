package datapath_test

import (
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/loader"
)

// TestNeighbour covers what stays inside a network: delivered as it is, TTL
// included, without conntrack.
func TestNeighbour(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		udp := f.b.udp(1, f.a.at(53))
		for name, sent := range map[string]frame{
			"tcp":               f.b.tcp(1, f.a.at(80), syn),
			"middle of tcp":     f.b.tcp(1, f.a.at(80), ack),
			"udp":               udp,
			"echo":              f.b.echo(1, f.a.addr),
			"first fragment":    firstFragment(udp),
			"later fragment":    laterFragment(udp),
			"other protocol":    withProtocol(udp, layers.IPProtocolSCTP),
			"ttl 1":             withTTL(udp, 1),
			"most headers":      withMostHeaders(udp),
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
		f.expectNoFlows()
	})
}

// TestContainerPasses covers what the bridge and the host's stack receive,
// untouched.
func TestContainerPasses(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		passes := map[string]frame{
			"to the gateway":         f.b.udp(1, at(f.gatewayOne, 53)),
			"to the host":            f.b.tcp(1, at(f.host, 22), syn),
			"to the host, middle":    f.b.tcp(1, at(f.host, 22), ack),
			"to a published, middle": f.b.tcp(1, at(f.host, published), ack),
			"echo to the gateway":    f.b.echo(1, f.gatewayOne),
			"echo to the host":       f.b.echo(1, f.host),
			"fragment to the host":   firstFragment(f.b.udp(1, at(f.host, 53))),
		}
		for _, group := range f.groups {
			passes["to "+group.String()] = f.b.udp(1, at(group, 67))
		}
		for name, sent := range passes {
			verdict, out := f.fromContainer(f.b, sent)
			f.expect(name, verdict, out, next, sent)
		}
		// While the program is there twice, the other does not see them.
		f.final(f.b)
		for name, sent := range passes {
			verdict, out := f.fromContainer(f.b, sent)
			f.expect(name+", final", verdict, out, pass, sent)
		}
		f.expectNoFlows()
	})
}
