package netdev_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/netdev"
)

// learnRoute gives the test's namespace a default route by a router in another.
func learnRoute(t *testing.T, router string) {
	t.Helper()
	ns, err := os.Open(router)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "up0"
	up := netlink.NewVeth(attrs)
	up.PeerName, up.PeerNamespace = "up1", netlink.NsFd(int(ns.Fd()))
	if err := netlink.LinkAdd(up); err != nil {
		t.Fatal(err)
	}
	setUp := func(name string) error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		path := "/proc/sys/net/ipv6/conf/" + name + "/accept_dad"
		return errors.Join(os.WriteFile(path, []byte("0"), 0), netlink.LinkSetUp(link))
	}
	if err := errors.Join(setUp("up0"), netdev.InNamespace(router, func() error { return setUp("up1") })); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !hasDefaultRoute6(t); time.Sleep(10 * time.Millisecond) {
		err := netdev.InNamespace(router, func() error { return advertiseRouter("up1") })
		if time.Now().After(deadline) {
			t.Fatalf("the namespace learns no route: %v", err)
		}
	}
}

// advertiseRouter sends a router advertisement (RFC 4861, 4.2) to all nodes.
func advertiseRouter(device string) error {
	link, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	if err := unix.SetsockoptInt(socket, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255); err != nil {
		return err
	}
	message := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08 /* 1800 s */, 0, 0, 0, 0, 0, 0, 0, 0}
	return unix.Sendto(socket, message, 0, &unix.SockaddrInet6{
		Addr: netip.MustParseAddr("ff02::1").As16(), ZoneId: uint32(link.Index),
	})
}

func hasDefaultRoute6(t *testing.T) bool {
	t.Helper()
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		if r.Gw != nil && r.Protocol == unix.RTPROT_RA {
			return true
		}
	}
	return false
}
