package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/lab"
)

// neighbour makes frames of the next machine on the uplink's wire. The port 8081 is
// published on loopback, 5353 on every address.
type neighbour struct {
	family
	mac, host net.HardwareAddr // its own, and the host's
	vip       string
}

func (n neighbour) udp(src, dst, number string) []byte {
	return packet{srcMAC: n.mac, dstMAC: n.host, src: port(src, "53"), dst: port(dst, number), payload: mark}.bytes()
}

func (n neighbour) own(dst, number string) []byte { return n.udp(n.client, dst, number) }

func (n neighbour) syn(dst, number string) []byte {
	return packet{
		srcMAC: n.mac, dstMAC: n.host, src: port(n.client, "7"), dst: port(dst, number), tcp: &layers.TCP{SYN: true}, payload: mark,
	}.bytes()
}

// everyFamily are frames that no container may get, in either family. What has no
// reason passes to the host's stack, which knows what to do with it.
func (n neighbour) everyFamily() []forged {
	toMAC := func(dstMAC net.HardwareAddr, frame []byte) []byte { return slices.Concat(dstMAC, frame[6:]) }
	public := n.own(n.family.host, "5353")
	return []forged{
		{"to a loopback address, moby#45610", n.own(n.loopback, "8081"), ""},
		{"to a loopback address, published on every address", n.own(n.loopback, "5353"), ""},
		{"TCP to a loopback address", n.syn(n.loopback, "8082"), ""},
		{"to a loopback address from one", n.udp(n.loopback, n.loopback, "8081"), ""},
		{"to the host's port on loopback only", n.own(n.family.host, "8081"), ""},

		{"to a container", n.own(n.first, "53"), "unpublished"},
		{"to a container, at the host's port", n.own(n.first, "5353"), "unpublished"},
		{"TCP to a container", n.syn(n.first, "80"), "unpublished"},
		{"to a container of another network", n.own(n.inOther, "53"), "unpublished"},
		{"by a gateway's address", n.own(n.gateway, "5353"), "unpublished"},
		{"by another network's gateway", n.own(n.other, "5353"), "unpublished"},
		{"to an alias", n.own(n.vip, "53"), "unpublished"},

		{"from a container's address", n.udp(n.first, n.family.host, "5353"), "martian"},
		{"from the gateway's address", n.udp(n.gateway, n.family.host, "5353"), "martian"},
		{"from the host's address", n.udp(n.family.host, n.family.host, "5353"), "martian"},
		{"from a loopback address", n.udp(n.loopback, n.family.host, "5353"), "martian"},

		{"for another host's MAC", toMAC(nobodysMAC, public), ""},
		{"for the container's MAC", toMAC(firstMAC, public), ""},
		{"for everybody's MAC", toMAC(layers.EthernetBroadcast, public), ""},
		{"with a VLAN tag", tagged(public), ""},
	}
}

func (n neighbour) oneFamily() []forged {
	if n.is6() {
		return n.ipv6()
	}
	return n.ipv4()
}

func (n neighbour) ipv4() []forged {
	host := n.family.host
	routed := func(dst, number string, options []byte) []byte {
		return packet{srcMAC: n.mac, dstMAC: n.host, src: port(n.client, "7"), dst: port(dst, number), options: options, payload: mark}.bytes()
	}
	return []forged{
		{"to a network's broadcast address", n.own("172.17.255.255", "53"), "unpublished"},
		{"from 0.0.0.0", n.udp("0.0.0.0", host, "5353"), "martian"},
		{"from a group", n.udp("224.0.0.1", host, "5353"), "martian"},
		{"from everybody", n.udp("255.255.255.255", host, "5353"), "martian"},

		{"loose source route to a published port", routed(host, "5353", looseSourceRoute(n.first)), ""},
		{"loose source route by the host to a container", routed(host, "53", looseSourceRoute(n.first)), "unpublished"},
		{"strict source route by the host to a container", routed(host, "53", strictSourceRoute(n.first)), ""},
		{"loose source route by a container", routed(n.first, "53", looseSourceRoute(n.far)), "unpublished"},
	}
}

func (n neighbour) ipv6() []forged {
	host := n.family.host
	return []forged{
		{"to a network's routers", n.own("fd00:17::", "53"), "unpublished"},
		{"from ::", n.udp("::", host, "5353"), "martian"},
		{"from a group", n.udp(allNodes, host, "5353"), "martian"},
		{"from an address of IPv4", n.udp("::ffff:192.0.2.9", host, "5353"), "martian"},
		{"from an address of the link", n.udp(nobodysInterface, host, "5353"), ""},
		{"from an address of the link, to a container", n.udp(nobodysInterface, n.first, "53"), "unpublished"},

		{"routing header to a published port", routedBy(n.own(host, "5353"), deprecatedRoute, n.first), ""},
		{"routing header by the host to a container", routedBy(n.own(host, "53"), deprecatedRoute, n.first), ""},
		// A kernel that follows it meets us at the bridge; others refuse it.
		{"segment routing by the host to a container", routedBy(n.own(host, "53"), segmentRouting, n.first), ""},
		{"segment routing by the host to another container", routedBy(n.own(host, "53"), segmentRouting, n.inOther), ""},
		{"segment routing by a container", routedBy(n.own(n.first, "53"), segmentRouting, n.far), "unpublished"},
		{"behind options, to a container", behind(n.own(n.first, "53"), destinationOptions, 1, 4, 0, 0, 0, 0), "unpublished"},
	}
}

// TestNeighbourCannotForge sends frames from the next machine on the wire, to a
// host that is as open as its own switches make it: it routes, routes by source and
// by segments, and takes 127.0.0.0/8 from its uplink.
func TestNeighbourCannotForge(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		f.network(l, "custombridge")
		l.OK("run", "-d", "--name=net00", "-p", "5353:53/udp", "-p", port(f.loopback, "8081:53/udp"), "-p", port(f.loopback, "8082:80"))
		l.OK("run", "-d", "--name=net01", "--network=custombridge", "--network-alias=rr")
		openHost(l, "eth0")
		n := neighbour{f, macOf(l.Client, "eth0"), macOf(l.Host, "eth0"), f.vip(l, "rr")}
		witnesses := map[string]*tap{"net00": tapIn(l, "net00"), "net01": tapIn(l, "net01")}
		wire := tapOn(l.Client, t, "eth0")
		for _, f := range append(n.everyFamily(), n.oneFamily()...) {
			before := systemInfo(l).Drops
			wire.send(f.frame)
			after := systemInfo(l).Drops
			if f.reason != "" && after[f.reason] != before[f.reason]+1 {
				t.Errorf("%s: %d dropped for %s, want 1", f.name, after[f.reason]-before[f.reason], f.reason)
			}
		}
		const honest = "honest"
		wire.send(packet{srcMAC: n.mac, dstMAC: n.host, src: port(f.client, "7"), dst: port(f.host, "5353"), payload: honest}.bytes())
		ask(l.Host, "udp-ask", port(f.inOther, "53"), honest)
		for name, witness := range witnesses {
			expectNoMark(t, name, witness.until(honest))
		}
	})
}

// openHost lets the host's own stack do what it can: with packets that are not
// ours that is the host's business.
func openHost(l *lab.Lab, device string) {
	l.Helper()
	setSysctls(l.Host, "ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1", "ipv4/conf/all/accept_source_route=1",
		"ipv4/conf/"+device+"/accept_source_route=1", "ipv4/conf/"+device+"/route_localnet=1",
		"ipv6/conf/all/accept_source_route=1", "ipv6/conf/"+device+"/accept_source_route=1",
		"ipv6/conf/all/seg6_enabled=1", "ipv6/conf/"+device+"/seg6_enabled=1")
	l.Host.Eventually("our bridge does not forward", func() error {
		var value []byte
		err := l.Host.Do(func() (err error) {
			value, err = os.ReadFile("/proc/sys/net/ipv4/conf/sluice0/forwarding")
			return err
		})
		if err == nil && strings.TrimSpace(string(value)) != "0" {
			err = fmt.Errorf("forwarding is %s", value)
		}
		return err
	})
}

func expectNoMark(t testing.TB, who string, frames [][]byte) {
	t.Helper()
	for _, frame := range frames {
		if bytes.Contains(frame, []byte(mark)) {
			t.Errorf("%s got a forged frame:\n%s", who, gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default))
		}
	}
}

// TestForwardingHostOpensNothing covers a host that routes between a device that
// is no uplink, as to a VPN, and everything else it has.
func TestForwardingHostOpensNothing(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t, "--uplink=eth0")
		runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
		lab.Veth(l.Host, "vpn0", l.Client, "vpn0")
		l.Host.Address("vpn0", f.vpn+f.prefix)
		l.Client.Address("vpn0", f.vpnPeer+f.prefix)
		l.Client.Route(f.inside, f.vpn)
		openHost(l, "vpn0")
		greeting(l.Client, port(f.host, "8080"))
		greeting(l.Host, port(f.first, "80"))
		for _, addr := range []string{port(f.first, "80"), port(f.gateway, "8080")} {
			expectUnreached(t, l.Client, addr)
		}
		if got := systemInfo(l).Drops["unpublished"]; got == 0 {
			t.Error("nothing was dropped as unpublished")
		}
	})
}
