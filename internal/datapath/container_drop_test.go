package datapath_test

import (
	"encoding/binary"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// badFrame is a change that makes a frame one that is dropped.
type badFrame struct {
	change func(raw []byte) []byte
	want   reasons.Reason
}

// badHeaders are what is wrong with each family's own header.
var badHeaders = map[*cast]map[string]badFrame{
	ipv4: {
		"truncated TCP header":  {func(raw []byte) []byte { return shorten(raw, 19) }, reasons.Malformed},
		"TCP header in padding": {func(raw []byte) []byte { raw[17] = 39; return raw }, reasons.Malformed},
		"version 5":             {func(raw []byte) []byte { raw[14] = 0x55; return raw }, reasons.Malformed},
		"header below 20 bytes": {func(raw []byte) []byte { raw[14] = 0x44; return raw }, reasons.Malformed},
		"no header length":      {func(raw []byte) []byte { raw[14] = 0x40; return raw }, reasons.Malformed},
		"header beyond length":  {func(raw []byte) []byte { raw[14] = 0x4f; return raw }, reasons.Malformed},
		"length beyond frame":   {func(raw []byte) []byte { raw[17]++; return raw }, reasons.Malformed},
		"length of zero":        {func(raw []byte) []byte { raw[17] = 0; return raw }, reasons.Malformed},
		"another's address":     {func(raw []byte) []byte { raw[29]++; return raw }, reasons.SpoofedAddress},
		"IPv6":                  {func(raw []byte) []byte { copy(raw[12:], []byte{0x86, 0xdd}); return raw }, reasons.Malformed},
	},
	ipv6: {
		"truncated TCP header":  {func(raw []byte) []byte { return shorten(raw, 19) }, reasons.Malformed},
		"TCP header in padding": {func(raw []byte) []byte { raw[19] = 19; return raw }, reasons.Malformed},
		"version 5":             {func(raw []byte) []byte { raw[14] = 0x50; return raw }, reasons.Malformed},
		"version 4":             {func(raw []byte) []byte { raw[14] = 0x45; return raw }, reasons.Malformed},
		"length beyond frame":   {func(raw []byte) []byte { raw[19]++; return raw }, reasons.Malformed},
		"length of zero":        {func(raw []byte) []byte { raw[19] = 0; return raw }, reasons.Malformed},
		"longest length":        {func(raw []byte) []byte { raw[18], raw[19] = 0xff, 0xff; return raw }, reasons.Malformed},
		"another's address":     {func(raw []byte) []byte { raw[37]++; return raw }, reasons.SpoofedAddress},
		"IPv4":                  {func(raw []byte) []byte { copy(raw[12:], []byte{0x08, 0x00}); return raw }, reasons.Malformed},
	},
}

// TestContainerDropsFrame covers what is wrong with the frame itself: one
// good frame, one change. TEST_RUN itself refuses a truncated IP header.
func TestContainerDropsFrame(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		drops := map[string]badFrame{
			"another's MAC":  {func(raw []byte) []byte { raw[11]++; return raw }, reasons.SpoofedMac},
			"a group's MAC":  {func(raw []byte) []byte { raw[6] |= 1; return raw }, reasons.SpoofedMac},
			"a VLAN tag":     {func(raw []byte) []byte { copy(raw[12:], []byte{0x81, 0x00}); return raw }, reasons.Ethertype},
			"an 802.1ad tag": {func(raw []byte) []byte { copy(raw[12:], []byte{0x88, 0xa8}); return raw }, reasons.Ethertype},
			"MPLS":           {func(raw []byte) []byte { copy(raw[12:], []byte{0x88, 0x47}); return raw }, reasons.Ethertype},
			"LLC":            {func(raw []byte) []byte { copy(raw[12:], []byte{0, 40}); return raw }, reasons.Ethertype},
		}
		for name, drop := range badHeaders[f.cast] {
			drops[name] = drop
		}
		for name, drop := range drops {
			t.Log(name)
			raw := drop.change(f.a.tcp(40000, f.remote.at(443), syn).bytes())
			f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(f.a.ifindex)}, raw, drop.want)
		}
		for _, addr := range f.martians {
			t.Log(addr)
			sent := f.a.tcp(40000, f.remote.at(443), syn)
			f.dropsFrom(f.a, sent.to(at(addr, 443)), reasons.Martian)
			f.dropsFrom(f.a, sent.from(at(addr, 40000)), reasons.SpoofedAddress)
		}
		f.expectNoFlows()
	})
}

// shorten leaves a frame so many bytes behind its shortest IP header, which then
// says so.
func shorten(raw []byte, length int) []byte {
	if isIPv4(raw) {
		length += 20
		binary.BigEndian.PutUint16(raw[16:], uint16(length))
		return raw[:ethernet+length]
	}
	binary.BigEndian.PutUint16(raw[18:], uint16(length))
	return raw[:ethernet+ipv6Header+length]
}

// TestContainerDropsWay covers where packets may not go.
func TestContainerDropsWay(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		for name, test := range map[string]struct {
			sent frame
			want reasons.Reason
		}{
			"nobody there":                              {f.a.udp(1, at(f.nobody, 53)), reasons.NoEndpoint},
			"the network's own address":                 {f.a.udp(1, at(f.subnetOne.Addr(), 53)), reasons.NoEndpoint},
			"another network's endpoint":                {f.a.udp(1, f.c.at(53)), reasons.Isolation},
			"another network's gateway":                 {f.a.udp(1, at(f.gatewayTwo, 53)), reasons.Isolation},
			"another network's gateway, published port": {f.a.tcp(1, at(f.gatewayTwo, published), syn), reasons.Isolation},
			"RST":            {f.a.tcp(1, f.remote.at(443), rst), reasons.NoFlow},
			"echo reply":     {f.a.icmp(f.cast.icmp.reply, 1, f.remote.addr), reasons.NoFlow},
			"other ICMP":     {f.a.icmp(f.cast.icmp.question, 1, f.remote.addr), reasons.Icmp},
			"other protocol": {withProtocol(f.a.udp(1, f.remote.at(1)), layers.IPProtocolGRE), reasons.Protocol},
			"the other family's ICMP": {withProtocol(f.a.udp(1, f.remote.at(1)), layers.IPProtocol(f.cast.other().icmp.protocol)),
				reasons.Protocol},
			"later fragment": {laterFragment(f.a.udp(1, f.remote.at(53))), reasons.Fragment},
		} {
			t.Log(name)
			f.dropsFrom(f.a, test.sent, test.want)
		}
		f.expectNoFlows()
	})
}

// TestContainerDropsHere covers what the host and its other containers lack.
func TestContainerDropsHere(t *testing.T) {
	bothFamilies(t, func(t *testing.T, c *cast) {
		toRemote := func(f *fixture) frame { return f.a.udp(1, f.remote.at(53)) }
		for name, test := range map[string]struct {
			change func(*fixture)
			sent   func(*fixture) frame
			want   reasons.Reason
		}{
			"neighbour not ready": {func(f *fixture) { f.set(f.b, false, false) },
				func(f *fixture) frame { return f.a.udp(1, f.b.at(53)) }, reasons.NotReady},
			"internal network": {func(f *fixture) { f.networkOne(0) }, toRemote, reasons.Internal},
			"no route":         {func(f *fixture) { f.blackhole(single(f.remote.addr)) }, toRemote, reasons.NoRoute},
			"not an uplink":    {func(f *fixture) { must(f.t, f.maps.SetUplinks(nil)) }, toRemote, reasons.NotAnUplink},
			"no source":        {func(f *fixture) { f.withoutAddress() }, toRemote, reasons.NoSource},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, c, loader.Config{})
				test.change(f)
				f.dropsFrom(f.a, test.sent(f), test.want)
				f.expectNoFlows()
			})
		}
	})
}

// withoutAddress takes every address of the host that could be a source.
func (f *fixture) withoutAddress() {
	for _, name := range []string{"uplink0", "bridge0"} {
		l, err := netlink.LinkByName(name)
		must(f.t, err)
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		must(f.t, err)
		for _, addr := range addrs {
			if addr.IP.IsGlobalUnicast() {
				must(f.t, netlink.AddrDel(l, &addr))
			}
		}
	}
	everything, err := netlink.ParseIPNet(f.unspecified.String() + "/0")
	must(f.t, err)
	must(f.t, netlink.RouteReplace(&netlink.Route{LinkIndex: f.uplink, Dst: everything, Scope: netlink.SCOPE_LINK}))
	must(f.t, f.maps.SetUplinks(map[uint32]maps.Uplink{uint32(f.uplink): {}}))
}

// TestContainerDropsStranger covers devices that are nobody's, and those that
// an endpoint had before.
func TestContainerDropsStranger(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		raw := f.a.udp(1, f.remote.at(53)).bytes()
		f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(f.uplink)}, raw, reasons.UnknownDevice)
		must(t, f.maps.ClearEndpoint(f.a.index))
		f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(f.a.ifindex)}, raw, reasons.UnknownDevice)
	})
}
