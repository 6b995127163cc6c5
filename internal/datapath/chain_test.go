package datapath_test

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

var (
	secondHostAddr = netip.MustParseAddr("192.0.2.2")
	thirdHostAddr  = netip.MustParseAddr("192.0.2.3")
)

// publishRange installs a rule for host ports first to last of addr.
func (f *fixture) publishRange(index uint32, addr netip.Addr, first, last, target uint16, to endpoint) {
	f.t.Helper()
	must(f.t, f.maps.SetRule(index, maps.Rule{
		Kind: maps.RulePublish, Protocol: unix.IPPROTO_TCP, HostAddr: addr,
		First: first, Last: last, Target: target, Endpoint: to.index,
	}))
}

func (f *fixture) moreHostAddrs() {
	f.t.Helper()
	must(f.t, f.maps.SetHostAddrs([]maps.HostAddr{{Addr: hostAddr}, {Addr: secondHostAddr}, {Addr: thirdHostAddr}}))
}

// expectLeads asserts that a SYN to addr:port is delivered to e's port.
func (f *fixture) expectLeads(addr netip.Addr, port uint16, e endpoint, to uint16) {
	f.t.Helper()
	sent := client.tcp(port, netip.AddrPortFrom(addr, port), syn)
	verdict, out := f.fromOutside(sent)
	f.expect(fmt.Sprintf("%s port %d", addr, port), verdict, out, redirect, sent.hop().to(e.at(to)).delivered(e))
}

// expectPasses asserts that a SYN to addr:port is left to the stack.
func (f *fixture) expectPasses(addr netip.Addr, port uint16) {
	f.t.Helper()
	sent := client.tcp(port, netip.AddrPortFrom(addr, port), syn)
	verdict, out := f.fromOutside(sent)
	f.expect(fmt.Sprintf("%s port %d", addr, port), verdict, out, next, sent)
}

func TestPublishedRange(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	f.publishRange(10, netip.IPv4Unspecified(), 9000, 9009, 7000, f.b)
	f.expectPasses(hostAddr, 8999)
	for port := uint16(9000); port <= 9009; port++ {
		f.expectLeads(hostAddr, port, f.b, port-2000)
	}
	f.expectPasses(hostAddr, 9010)
}

func TestPublishedEdges(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	f.publishRange(10, netip.IPv4Unspecified(), 1, 1, 65535, f.b)
	f.publishRange(11, netip.IPv4Unspecified(), 65534, 65535, 1, f.b)
	f.expectLeads(hostAddr, 1, f.b, 65535)
	f.expectLeads(hostAddr, 65534, f.b, 1)
	f.expectLeads(hostAddr, 65535, f.b, 2)
}

func TestPublishedOnOneAddress(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	f.moreHostAddrs()
	f.publishRange(10, secondHostAddr, 9000, 9000, 80, f.b)
	f.expectLeads(secondHostAddr, 9000, f.b, 80)
	f.expectPasses(hostAddr, 9000)
}

// TestPublishedOnLoopback covers a port that only the host itself may reach.
func TestPublishedOnLoopback(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	local := netip.MustParseAddr("127.0.0.1")
	f.publishRange(10, local, 9000, 9000, 80, f.b)
	f.expectPasses(hostAddr, 9000)
	f.expectPasses(local, 9000)
}

// TestPublishedChain covers several host addresses on overlapping ports, in
// whatever order they were installed.
func TestPublishedChain(t *testing.T) {
	t.Parallel()
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, loader.Config{})
			f.moreHostAddrs()
			install := []func(){
				func() { f.publishRange(20, netip.IPv4Unspecified(), 9000, 9009, 1000, f.a) },
				func() { f.publishRange(21, secondHostAddr, 9005, 9014, 2000, f.b) },
				func() { f.publishRange(22, thirdHostAddr, 9008, 9008, 3000, f.c) },
			}
			for _, i := range order {
				install[i]()
			}
			f.expectLeads(hostAddr, 9008, f.a, 1008)
			f.expectLeads(secondHostAddr, 9008, f.b, 2003)
			f.expectLeads(thirdHostAddr, 9008, f.c, 3000)
			f.expectLeads(thirdHostAddr, 9009, f.a, 1009)
			f.expectLeads(secondHostAddr, 9004, f.a, 1004)
			f.expectLeads(secondHostAddr, 9014, f.b, 2009)
			f.expectPasses(hostAddr, 9010)

			must(t, f.maps.ClearRule(21))
			f.expectLeads(secondHostAddr, 9007, f.a, 1007)
			f.expectPasses(secondHostAddr, 9010)
			f.expectLeads(thirdHostAddr, 9008, f.c, 3000)
			must(t, f.maps.ClearRule(20))
			f.expectPasses(hostAddr, 9000)
			f.expectPasses(hostAddr, 9008)
		})
	}
}

// TestLongestChain covers as many rules on one port as there may be.
func TestLongestChain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	const longest = 8
	addrs := []maps.HostAddr{{Addr: hostAddr}}
	f.publishRange(30, netip.IPv4Unspecified(), 9000, 9000, 1, f.b)
	for i := uint16(1); i < longest; i++ {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})
		addrs = append(addrs, maps.HostAddr{Addr: addr})
		f.publishRange(30+uint32(i), addr, 9000, 9000, 1+i, f.b)
	}
	must(t, f.maps.SetHostAddrs(addrs))
	for i, addr := range addrs {
		f.expectLeads(addr.Addr, 9000, f.b, uint16(1+i))
	}
}
