package datapath_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// TestContainerDropsFrame covers what is wrong with the frame itself: one
// good frame, one change. TEST_RUN itself refuses a truncated IPv4 header.
func TestContainerDropsFrame(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(raw []byte) []byte
		want   reasons.Reason
	}{
		"truncated TCP header":  {func(raw []byte) []byte { return shorten(raw, 39) }, reasons.Malformed},
		"TCP header in padding": {func(raw []byte) []byte { raw[17] = 39; return raw }, reasons.Malformed},
		"version 5":             {func(raw []byte) []byte { raw[14] = 0x55; return raw }, reasons.Malformed},
		"header below 20 bytes": {func(raw []byte) []byte { raw[14] = 0x44; return raw }, reasons.Malformed},
		"no header length":      {func(raw []byte) []byte { raw[14] = 0x40; return raw }, reasons.Malformed},
		"header beyond length":  {func(raw []byte) []byte { raw[14] = 0x4f; return raw }, reasons.Malformed},
		"length beyond frame":   {func(raw []byte) []byte { raw[17]++; return raw }, reasons.Malformed},
		"length of zero":        {func(raw []byte) []byte { raw[17] = 0; return raw }, reasons.Malformed},
		"another's MAC":         {func(raw []byte) []byte { raw[11]++; return raw }, reasons.SpoofedMac},
		"a group's MAC":         {func(raw []byte) []byte { raw[6] |= 1; return raw }, reasons.SpoofedMac},
		"another's address":     {func(raw []byte) []byte { raw[29]++; return raw }, reasons.SpoofedAddress},
		"the zero address":      {func(raw []byte) []byte { copy(raw[26:], make([]byte, 4)); return raw }, reasons.SpoofedAddress},
		"a loopback source":     {func(raw []byte) []byte { copy(raw[26:], []byte{127, 0, 0, 1}); return raw }, reasons.SpoofedAddress},
		"to 127.0.0.1":          {func(raw []byte) []byte { copy(raw[30:], []byte{127, 0, 0, 1}); return raw }, reasons.Martian},
		"to 127.255.255.255":    {func(raw []byte) []byte { copy(raw[30:], []byte{127, 255, 255, 255}); return raw }, reasons.Martian},
		"to 0.0.0.0":            {func(raw []byte) []byte { copy(raw[30:], make([]byte, 4)); return raw }, reasons.Martian},
		"to 0.1.2.3":            {func(raw []byte) []byte { copy(raw[30:], []byte{0, 1, 2, 3}); return raw }, reasons.Martian},
		"a VLAN tag":            {func(raw []byte) []byte { copy(raw[12:], []byte{0x81, 0x00}); return raw }, reasons.Ethertype},
		"an 802.1ad tag":        {func(raw []byte) []byte { copy(raw[12:], []byte{0x88, 0xa8}); return raw }, reasons.Ethertype},
		"MPLS":                  {func(raw []byte) []byte { copy(raw[12:], []byte{0x88, 0x47}); return raw }, reasons.Ethertype},
		"LLC":                   {func(raw []byte) []byte { copy(raw[12:], []byte{0, 40}); return raw }, reasons.Ethertype},
		"IPv6":                  {func(raw []byte) []byte { copy(raw[12:], []byte{0x86, 0xdd}); return raw }, reasons.Ipv6Disabled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, loader.Config{})
			raw := test.change(f.a.tcp(40000, remoteAddrPort(443), syn).bytes())
			f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(f.a.ifindex)}, raw, test.want)
			f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
		})
	}
}

// shorten cuts a frame to an IPv4 length, which the header then says.
func shorten(raw []byte, length int) []byte {
	raw[16], raw[17] = byte(length>>8), byte(length)
	return raw[:14+length]
}

// TestContainerDropsWay covers what is wrong with where a packet wants to go.
func TestContainerDropsWay(t *testing.T) {
	t.Parallel()
	nothing := func(*fixture) {}
	for name, test := range map[string]struct {
		change func(*fixture)
		sent   func(a endpoint) frame
		want   reasons.Reason
	}{
		"nobody there":              {nothing, func(a endpoint) frame { return a.udp(1, netip.MustParseAddrPort("172.17.0.9:53")) }, reasons.NoEndpoint},
		"the network's own address": {nothing, func(a endpoint) frame { return a.udp(1, netip.MustParseAddrPort("172.17.0.0:53")) }, reasons.NoEndpoint},
		"neighbour not ready": {func(f *fixture) { f.set(f.b, false, false) },
			func(a endpoint) frame { return a.udp(1, netip.MustParseAddrPort("172.17.0.3:53")) }, reasons.NotReady},
		"another network's endpoint": {nothing, func(a endpoint) frame { return a.udp(1, netip.MustParseAddrPort("172.18.0.2:53")) }, reasons.Isolation},
		"another network's gateway":  {nothing, func(a endpoint) frame { return a.udp(1, netip.AddrPortFrom(gatewayTwo, 53)) }, reasons.Isolation},
		"another network's gateway, published port": {nothing,
			func(a endpoint) frame { return a.tcp(1, netip.AddrPortFrom(gatewayTwo, published), syn) }, reasons.Isolation},
		"internal network": {func(f *fixture) { f.internal() }, func(a endpoint) frame { return a.udp(1, remoteAddrPort(53)) }, reasons.Internal},
		"RST":              {nothing, func(a endpoint) frame { return a.tcp(1, remoteAddrPort(443), rst) }, reasons.NoFlow},
		"echo reply": {nothing,
			func(a endpoint) frame { f := a.echo(1, remoteAddr); f.icmp = layers.ICMPv4TypeEchoReply; return f }, reasons.NoFlow},
		"other ICMP": {nothing,
			func(a endpoint) frame {
				f := a.echo(1, remoteAddr)
				f.icmp = layers.ICMPv4TypeTimestampRequest
				return f
			}, reasons.Icmp},
		"other protocol": {nothing,
			func(a endpoint) frame { f := a.udp(1, remoteAddrPort(1)); f.protocol = layers.IPProtocolGRE; return f }, reasons.Protocol},
		"later fragment": {nothing, func(a endpoint) frame { f := a.udp(1, remoteAddrPort(53)); f.offset = 8; return f }, reasons.Fragment},
		"no route": {func(f *fixture) { f.blackhole("203.0.113.0/24") },
			func(a endpoint) frame { return a.udp(1, netip.MustParseAddrPort("203.0.113.1:53")) }, reasons.NoRoute},
		"not an uplink": {func(f *fixture) { must(f.t, f.maps.SetUplinks(nil)) },
			func(a endpoint) frame { return a.udp(1, remoteAddrPort(53)) }, reasons.NotAnUplink},
		"no source": {func(f *fixture) { f.withoutAddress() },
			func(a endpoint) frame { return a.udp(1, remoteAddrPort(53)) }, reasons.NoSource},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, loader.Config{})
			test.change(f)
			f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(f.a.ifindex)}, test.sent(f.a).bytes(), test.want)
			f.expectFlows(map[datapath.FlowKey4]datapath.Flow4{})
		})
	}
}

// internal takes the first network's way outside.
func (f *fixture) internal() {
	must(f.t, f.maps.SetNetwork(networkOne, maps.Network{
		Subnet: subnetOne, Gateway: gatewayOne, MAC: gatewayMAC, Bridge: uint32(f.bridge),
	}))
}

func (f *fixture) blackhole(prefix string) {
	dst, err := netlink.ParseIPNet(prefix)
	must(f.t, err)
	must(f.t, netlink.RouteAdd(&netlink.Route{Dst: dst, Type: 6})) // RTN_BLACKHOLE
}

// withoutAddress takes every address of the host that could be a source.
func (f *fixture) withoutAddress() {
	for _, name := range []string{"uplink0", "bridge0"} {
		l, err := netlink.LinkByName(name)
		must(f.t, err)
		addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
		must(f.t, err)
		for _, addr := range addrs {
			must(f.t, netlink.AddrDel(l, &addr))
		}
	}
	everything := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	must(f.t, netlink.RouteAdd(&netlink.Route{LinkIndex: f.uplink, Dst: everything, Scope: netlink.SCOPE_LINK}))
	must(f.t, f.maps.SetUplinks(map[uint32]maps.Sources{uint32(f.uplink): {}}))
}

// TestContainerDropsStranger covers devices that are nobody's, and those that
// an endpoint had before.
func TestContainerDropsStranger(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	raw := f.a.udp(1, remoteAddrPort(53)).bytes()
	f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(f.uplink)}, raw, reasons.UnknownDevice)
	must(t, f.maps.ClearEndpoint(f.a.index))
	f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(f.a.ifindex)}, raw, reasons.UnknownDevice)
}
