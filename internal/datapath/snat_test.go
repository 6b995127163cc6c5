package datapath_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// masqueradePort opens a flow from a and returns its source port outside.
func (f *fixture) masqueradePort(sent frame) uint16 {
	f.t.Helper()
	verdict, out := f.fromContainer(f.a, sent)
	if verdict != redirect {
		f.t.Fatalf("verdict %d, drops %v", int32(verdict), f.drops())
	}
	return sourcePort(out)
}

// ports opens n flows to one destination and returns their source ports.
func (f *fixture) masqueradePorts(n int, to netip.AddrPort) map[uint16]bool {
	f.t.Helper()
	ports := map[uint16]bool{}
	for i := range n {
		port := f.masqueradePort(f.a.tcp(uint16(40000+i), to, syn))
		if ports[port] {
			f.t.Errorf("two flows to %s have source port %d", to, port)
		}
		ports[port] = true
	}
	return ports
}

// Ranges that leave masquerade few ports. Programs are verified anew for each
// range, so the tests share them.
var (
	fivePorts = loader.Config{LocalPorts: [2]uint16{1024, 65530}} // from 65531
	twoPorts  = loader.Config{LocalPorts: [2]uint16{1, 65533}}    // from 65534
	onePort   = loader.Config{LocalPorts: [2]uint16{1024, 65534}} // 65535
)

func TestSourcePortsStayOutOfLocalRange(t *testing.T) {
	for _, test := range []struct {
		local [2]uint16
		want  []uint16
	}{
		{fivePorts.LocalPorts, []uint16{65531, 65532, 65533, 65534, 65535}},
		{[2]uint16{1028, 65535}, []uint16{1024, 1025, 1026, 1027}},
		{[2]uint16{1026, 65533}, []uint16{1024, 1025, 65534, 65535}},
		{twoPorts.LocalPorts, []uint16{65534, 65535}},
	} {
		t.Run(fmt.Sprint(test.local), func(t *testing.T) {
			withFixtures(t, loader.Config{LocalPorts: test.local}, func(t *testing.T, f *fixture) {
				want := map[uint16]bool{}
				for _, port := range test.want {
					want[port] = true
				}
				expectEqual(t, "source ports", f.masqueradePorts(len(test.want), f.remote.at(443)), want)

				one := f.a.tcp(50000, f.remote.at(443), syn)
				f.dropsFrom(f.a, one, reasons.MasqueradeExhausted)
				if n := len(f.halves()); n != 2*len(test.want) {
					t.Errorf("%d halves of flows, want %d", n, 2*len(test.want))
				}
				for _, other := range []frame{
					f.a.tcp(50000, f.remote.at(444), syn), f.a.tcp(50000, f.client.at(443), syn), f.a.udp(50000, f.remote.at(443)),
				} {
					if port := f.masqueradePort(other); !want[port] {
						t.Errorf("another destination got source port %d", port)
					}
				}
			})
		})
	}
}

func TestNoPortsAtAll(t *testing.T) {
	withFixtures(t, loader.Config{LocalPorts: [2]uint16{1, 65535}}, func(t *testing.T, f *fixture) {
		sent := f.a.tcp(40000, f.remote.at(443), syn)
		f.dropsFrom(f.a, sent, reasons.MasqueradeExhausted)
	})
}

// TestSourcePortsAvoidPublishedPorts covers ports of TCP, which UDP may have.
func TestSourcePortsAvoidPublishedPorts(t *testing.T) {
	withFixtures(t, fivePorts, func(t *testing.T, f *fixture) {
		must(t, f.maps.SetRule(9, maps.Rule{
			Kind: maps.RulePublish, Protocol: 6, HostAddr: f.unspecified, First: 65532, Last: 65534, Target: 1, Endpoint: f.a.index,
		}))
		expectEqual(t, "source ports", f.masqueradePorts(2, f.remote.at(443)), map[uint16]bool{65531: true, 65535: true})
		f.dropsFrom(f.a, f.a.tcp(50000, f.remote.at(443), syn), reasons.MasqueradeExhausted)
		for port := range uint16(5) {
			f.masqueradePort(f.a.udp(40000+port, f.remote.at(443)))
		}
	})
}

// TestWideRangesArePublished covers ranges of which a packet could not try every
// port, wherever they lie: a flow finds one beside them with its first packet.
func TestWideRangesArePublished(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for n, span := range [][2]uint16{{61000, 65535}, {1024, 32767}, {1024, 20000}, {49152, 65535}} {
			must(t, f.maps.SetRule(9, maps.Rule{
				Kind: maps.RulePublish, Protocol: 6, HostAddr: f.unspecified, First: span[0], Last: span[1], Target: 1, Endpoint: f.a.index,
			}))
			for i := range uint16(100) {
				port := f.masqueradePort(f.a.tcp(uint16(40000+n), f.remote.at(443+i), syn))
				if port >= span[0] && port <= span[1] {
					t.Errorf("source port %d is published", port)
				}
			}
			must(t, f.maps.ClearRule(9))
		}
	})
}

// TestSourcePortsAvoidSockets covers sockets of the host that were bound
// explicitly: their traffic and a container's must not meet.
func TestSourcePortsAvoidSockets(t *testing.T) {
	withFixtures(t, fivePorts, func(t *testing.T, f *fixture) {
		stream, err := net.Listen(f.network("tcp"), at(f.unspecified, 65533).String())
		must(t, err)
		defer stream.Close()
		datagram, err := net.ListenPacket(f.network("udp"), at(f.host, 65534).String())
		must(t, err)
		defer datagram.Close()
		tcp := f.masqueradePorts(4, f.remote.at(443))
		expectEqual(t, "TCP source ports", tcp, map[uint16]bool{65531: true, 65532: true, 65534: true, 65535: true})
		udp := map[uint16]bool{}
		for port := range uint16(4) {
			udp[f.masqueradePort(f.a.udp(1+port, f.remote.at(443)))] = true
		}
		expectEqual(t, "UDP source ports", udp, map[uint16]bool{65531: true, 65532: true, 65533: true, 65535: true})
	})
}

// TestRetransmissionsCoverTheRange fills more ports than one packet may probe:
// a packet that finds none leaves the cursor behind what it has tried.
func TestRetransmissionsCoverTheRange(t *testing.T) {
	const probes, ports = 128, 300
	withFixtures(t, loader.Config{LocalPorts: [2]uint16{1024, 65535 - ports}}, func(t *testing.T, f *fixture) {
		f.masqueradePorts(ports-1, f.remote.at(443))
		last := f.masqueradePort(f.a.tcp(49999, f.remote.at(443), syn))
		// The cursor is back at the first port. The one that was taken last becomes free.
		for key := range f.halves() {
			if key.Zone == datapath.ZoneOutside && key.Dport == last {
				f.evict(key)
			}
		}
		sent := f.a.tcp(50000, f.remote.at(443), syn)
		for range ports / probes {
			f.dropsFrom(f.a, sent, reasons.MasqueradeExhausted)
		}
		if port := f.masqueradePort(sent); port != last {
			t.Errorf("source port %d, want the free one, %d", port, last)
		}
		retries, err := f.maps.MasqueradeRetries()
		must(t, err)
		expectEqual(t, "ports that were tried and taken", retries, uint64(ports-1))
	})
}

// TestExpiredFlowGivesItsPort covers a holder of a port that has died.
func TestExpiredFlowGivesItsPort(t *testing.T) {
	withFixtures(t, onePort, func(t *testing.T, f *fixture) {
		f.masqueradePort(f.a.tcp(40000, f.remote.at(443), syn))
		f.age(241)
		if port := f.masqueradePort(f.a.tcp(40001, f.remote.at(443), syn)); port != 65535 {
			t.Errorf("source port %d", port)
		}
		if n := len(f.halves()); n != 2 {
			t.Errorf("%d halves, want those of the new flow alone", n)
		}
	})
}
