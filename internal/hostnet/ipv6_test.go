package hostnet_test

import (
	"net"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/netdev/netdevtest"
)

// address6 is an IPv6 address that is there at once.
func address6(t *testing.T, prefix string) *netlink.Addr {
	t.Helper()
	addr := parseAddr(t, prefix)
	addr.Flags = unix.IFA_F_NODAD
	return addr
}

func writeSysctl(t *testing.T, path, value string) {
	t.Helper()
	must(t, os.WriteFile("/proc/sys/net/"+path, []byte(value), 0))
}

// upWithoutLinkLocal sets both ends of a pair up, so that the addresses which a
// test gives them are all that they have.
func upWithoutLinkLocal(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		writeSysctl(t, "ipv6/conf/"+name+"/addr_gen_mode", "1")
		link, err := netlink.LinkByName(name)
		must(t, err)
		must(t, netlink.LinkSetUp(link))
	}
}

func TestWatchFollowsIPv6(t *testing.T) {
	t.Parallel()
	netdevtest.Enter(t)
	uplink := addVeth(t, "up0", "mine0")
	upWithoutLinkLocal(t, "up0", "mine0")
	must(t, netlink.AddrAdd(uplink, address6(t, "fd00:1::5/64")))
	e := watch(t, func(name string) bool { return name == "mine0" })
	e.wait6(t, "fd00:1::5", "[fd00:1::5]")

	must(t, netlink.AddrAdd(uplink, address6(t, "fe80::5/64")))
	e.wait6(t, "fd00:1::5", "[fd00:1::5 fe80::5]")
	must(t, netlink.AddrAdd(uplink, address6(t, "2001:db8::7/64")))
	e.wait6(t, "2001:db8::7", "[2001:db8::7 fd00:1::5 fe80::5]")
	must(t, netlink.AddrAdd(uplink, address6(t, "2001:db8::6/64")))
	e.wait6(t, "2001:db8::6", "[2001:db8::6 2001:db8::7 fd00:1::5 fe80::5]")
	must(t, netlink.AddrDel(uplink, address6(t, "fe80::5/64")))
	must(t, netlink.AddrDel(uplink, address6(t, "2001:db8::6/64")))
	e.wait6(t, "2001:db8::7", "[2001:db8::7 fd00:1::5]")

	// One that is deprecated is an address still, and no source.
	deprecated := address6(t, "2001:db8::7/64")
	deprecated.ValidLft = 3600
	must(t, netlink.AddrReplace(uplink, deprecated))
	e.wait6(t, "fd00:1::5", "[2001:db8::7 fd00:1::5]")
	must(t, netlink.LinkSetDown(uplink))
	e.wait6(t, "invalid IP", "[]")
}

// TestTentativeAddress covers one that is being looked for on the link.
func TestTentativeAddress(t *testing.T) {
	t.Parallel()
	netdevtest.Enter(t)
	uplink := addVeth(t, "up0", "mine0")
	upWithoutLinkLocal(t, "up0", "mine0")
	e := watch(t, func(name string) bool { return name == "mine0" })
	e.wait6(t, "invalid IP", "[]")
	writeSysctl(t, "ipv6/conf/up0/dad_transmits", "1000") // for as long as a slow machine takes
	must(t, netlink.AddrAdd(uplink, parseAddr(t, "2001:db8::8/64")))
	must(t, netlink.AddrAdd(uplink, address6(t, "fd00:1::5/64")))
	e.wait6(t, "fd00:1::5", "[fd00:1::5]")
	must(t, netlink.AddrDel(uplink, parseAddr(t, "2001:db8::8/64")))
	writeSysctl(t, "ipv6/conf/up0/dad_transmits", "1")
	must(t, netlink.AddrAdd(uplink, parseAddr(t, "2001:db8::8/64")))
	e.wait6(t, "2001:db8::8", "[2001:db8::8 fd00:1::5]")
}

// TestTemporaryAddress covers the ones that change all the time (RFC 8981).
func TestTemporaryAddress(t *testing.T) {
	t.Parallel()
	netdevtest.Enter(t)
	uplink := addVeth(t, "up0", "mine0")
	writeSysctl(t, "ipv6/conf/up0/use_tempaddr", "2")
	upWithoutLinkLocal(t, "up0", "mine0")
	addr := address6(t, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/64") // the highest there is
	addr.Flags |= unix.IFA_F_MANAGETEMPADDR
	addr.ValidLft, addr.PreferedLft = 360000, 350000
	must(t, netlink.AddrAdd(uplink, addr))
	e := watch(t, func(name string) bool { return name == "mine0" })
	for s := range e.states {
		if len(s.Addrs) < 2 { // before it is there
			continue
		}
		if source := s.Uplinks[0].Source6; source.String() != "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff" {
			t.Errorf("of %v the source is %s", s.Addrs, source)
		}
		return
	}
}

func TestRoutes6(t *testing.T) {
	t.Parallel()
	host := openHost(t)
	link := addVeth(t, "up0", "up1")
	upWithoutLinkLocal(t, "up0", "up1")
	must(t, netlink.AddrAdd(link, address6(t, "2001:db8:1::5/64")))
	for _, dst := range []string{"::/0", "::/1", "8000::/1", "2000::/3", "fd00:7::/48"} {
		_, ipnet, err := net.ParseCIDR(dst)
		must(t, err)
		must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipnet}))
	}
	wantRoutes(t, host, netlink.FAMILY_V6, "2001:db8:1::/64", "2001:db8:1::5/128", "fd00:7::/48")
	wantRoutes(t, host, netlink.FAMILY_V4)
}

func TestWatchForwardingSwitch6(t *testing.T) {
	t.Parallel()
	netdevtest.Enter(t)
	addVeth(t, "up0", "mine0")
	e := watch(t, nobody, "up0")
	e.wait(t, "[up0 invalid IP]", "[]")
	writeSysctl(t, "ipv6/conf/default/forwarding", "1") // of devices to come
	writeSysctl(t, "ipv6/conf/up0/forwarding", "1")     // of a foreign one
	must(t, netlink.LinkDel(func() netlink.Link { l, _ := netlink.LinkByName("up0"); return l }()))
	e.wait(t, "[]", "[]")
	if len(e.forwarding) != 0 {
		t.Error("something was reported that was not the namespace's switch")
	}
	writeSysctl(t, "ipv6/conf/all/forwarding", "1")
	e.waitForwarding(t)
}
