package datapath_test

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// publishRange installs a rule for host ports first to last of addr.
func (f *fixture) publishRange(index uint32, addr netip.Addr, first, last, target uint16, to endpoint) {
	f.t.Helper()
	must(f.t, f.maps.SetRule(index, maps.Rule{
		Kind: maps.RulePublish, Protocol: unix.IPPROTO_TCP, HostAddr: addr,
		First: first, Last: last, Target: target, Endpoint: to.index,
	}))
}

// expectLeads asserts that a SYN to addr:port is delivered to e's port.
func (f *fixture) expectLeads(addr netip.Addr, port uint16, e endpoint, to uint16) {
	f.t.Helper()
	sent := f.client.tcp(port, at(addr, port), syn)
	verdict, out := f.fromOutside(sent)
	f.expect(fmt.Sprintf("%s port %d", addr, port), verdict, out, redirect, sent.hop().to(e.at(to)).delivered(e))
}

// expectPasses asserts that a SYN to addr:port is left to the stack.
func (f *fixture) expectPasses(addr netip.Addr, port uint16) {
	f.t.Helper()
	sent := f.client.tcp(port, at(addr, port), syn)
	verdict, out := f.fromOutside(sent)
	f.expect(fmt.Sprintf("%s port %d", addr, port), verdict, out, next, sent)
}

func TestPublishedRange(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		f.publishRange(10, f.unspecified, 9000, 9009, 7000, f.b)
		f.expectPasses(f.host, 8999)
		for port := uint16(9000); port <= 9009; port++ {
			f.expectLeads(f.host, port, f.b, port-2000)
		}
		f.expectPasses(f.host, 9010)
	})
}

func TestPublishedEdges(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		f.publishRange(10, f.unspecified, 1, 1, 65535, f.b)
		f.publishRange(11, f.unspecified, 65534, 65535, 1, f.b)
		f.expectLeads(f.host, 1, f.b, 65535)
		f.expectLeads(f.host, 65534, f.b, 1)
		f.expectLeads(f.host, 65535, f.b, 2)
	})
}

func TestPublishedOnOneAddress(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		f.hostAddrs(f.secondHost, f.thirdHost)
		f.publishRange(10, f.secondHost, 9000, 9000, 80, f.b)
		f.expectLeads(f.secondHost, 9000, f.b, 80)
		f.expectPasses(f.host, 9000)
	})
}

// TestPublishedOnLoopback covers a port that only the host itself may reach.
func TestPublishedOnLoopback(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		f.publishRange(10, f.loop, 9000, 9000, 80, f.b)
		f.expectPasses(f.host, 9000)
		f.expectPasses(f.loop, 9000)
	})
}

// TestPublishedChain covers several host addresses on overlapping ports, in
// whatever order they were installed.
func TestPublishedChain(t *testing.T) {
	bothFamilies(t, func(t *testing.T, c *cast) {
		for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
			t.Run(fmt.Sprint(order), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, c, loader.Config{})
				f.hostAddrs(f.secondHost, f.thirdHost)
				install := []func(){
					func() { f.publishRange(20, f.unspecified, 9000, 9009, 1000, f.a) },
					func() { f.publishRange(21, f.secondHost, 9005, 9014, 2000, f.b) },
					func() { f.publishRange(22, f.thirdHost, 9008, 9008, 3000, f.c) },
				}
				for _, i := range order {
					install[i]()
				}
				f.expectLeads(f.host, 9008, f.a, 1008)
				f.expectLeads(f.secondHost, 9008, f.b, 2003)
				f.expectLeads(f.thirdHost, 9008, f.c, 3000)
				f.expectLeads(f.thirdHost, 9009, f.a, 1009)
				f.expectLeads(f.secondHost, 9004, f.a, 1004)
				f.expectLeads(f.secondHost, 9014, f.b, 2009)
				f.expectPasses(f.host, 9010)

				must(t, f.maps.ClearRule(21))
				f.expectLeads(f.secondHost, 9007, f.a, 1007)
				f.expectPasses(f.secondHost, 9010)
				f.expectLeads(f.thirdHost, 9008, f.c, 3000)
				must(t, f.maps.ClearRule(20))
				f.expectPasses(f.host, 9000)
				f.expectPasses(f.host, 9008)
			})
		}
	})
}

// TestLongestChain covers as many rules on one port as there may be, half of
// which are the other family's.
func TestLongestChain(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		const longest = 8
		addrs := []netip.Addr{f.unspecified}
		addr, other := f.thirdHost, f.cast.other().thirdHost
		for len(addrs) < longest {
			addr, other = addr.Next(), other.Next()
			addrs = append(addrs, addr, other)
		}
		addrs = addrs[:longest]
		f.hostAddrs(addrs[1:]...)
		for i, addr := range addrs {
			f.publishRange(30+uint32(i), addr, 9000, 9000, 1+uint16(i), f.b)
		}
		f.expectLeads(f.host, 9000, f.b, 1)
		for i, addr := range addrs[1:] {
			if addr.Is4() == f.host.Is4() {
				f.expectLeads(addr, 9000, f.b, uint16(2+i))
			}
		}
	})
}
