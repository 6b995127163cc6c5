package e2e

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/lab"
)

// forgedByNeighbour are frames of a neighbour on the uplink's wire that no
// container may get. What has no reason passes to the host's stack, which knows
// what to do with it. The port 8081 is published on 127.0.0.1, and 5353 on every
// address.
func forgedByNeighbour(client, host []byte, vip string) []forged {
	udp := func(src, dst string, options ...byte) []byte {
		return packet{srcMAC: client, dstMAC: host, src: src, dst: dst, options: options, payload: mark}.bytes()
	}
	syn := func(dst string) []byte {
		return packet{srcMAC: client, dstMAC: host, src: lab.ClientAddr + ":7", dst: dst, tcp: &layers.TCP{SYN: true}, payload: mark}.bytes()
	}
	toMAC := func(dstMAC []byte, frame []byte) []byte { return slices.Concat(dstMAC, frame[6:]) }
	own, public := lab.ClientAddr+":7", lab.HostAddr+":5353"
	tagged := udp(own, public)
	tagged = slices.Concat(tagged[:12], []byte{0x81, 0, 0, 5}, tagged[12:])
	return []forged{
		{"to 127.0.0.1, moby#45610", udp(own, "127.0.0.1:8081"), ""},
		{"to 127.0.0.1, published on every address", udp(own, "127.0.0.1:5353"), ""},
		{"TCP to 127.0.0.1", syn("127.0.0.1:8082"), ""},
		{"to 127.0.0.1 from 127.0.0.1", udp("127.0.0.1:7", "127.0.0.1:8081"), ""},
		{"to the host's port on 127.0.0.1 only", udp(own, lab.HostAddr+":8081"), ""},

		{"to a container", udp(own, "172.17.0.2:53"), "unpublished"},
		{"to a container, at the host's port", udp(own, "172.17.0.2:5353"), "unpublished"},
		{"TCP to a container", syn("172.17.0.2:80"), "unpublished"},
		{"to a container of another network", udp(own, "172.20.0.2:53"), "unpublished"},
		{"by a gateway's address", udp(own, "172.17.0.1:5353"), "unpublished"},
		{"by another network's gateway", udp(own, "172.20.0.1:5353"), "unpublished"},
		{"to an alias", udp(own, vip), "unpublished"},
		{"to a network's broadcast address", udp(own, "172.17.255.255:53"), "unpublished"},

		{"from a container's address", udp("172.17.0.3:53", public), "martian"},
		{"from the gateway's address", udp("172.17.0.1:53", public), "martian"},
		{"from the host's address", udp(lab.HostAddr+":5353", public), "martian"},
		{"from 127.0.0.1", udp("127.0.0.1:53", public), "martian"},
		{"from 0.0.0.0", udp("0.0.0.0:53", public), "martian"},
		{"from a group", udp("224.0.0.1:53", public), "martian"},
		{"from everybody", udp("255.255.255.255:53", public), "martian"},

		{"for another host's MAC", toMAC(nobodysMAC, udp(own, public)), ""},
		{"for the container's MAC", toMAC(firstMAC, udp(own, public)), ""},
		{"for everybody's MAC", toMAC(layers.EthernetBroadcast, udp(own, public)), ""},
		{"with a VLAN tag", tagged, ""},

		{"loose source route to a published port", udp(own, public, looseSourceRoute("172.17.0.2")...), ""},
		{"loose source route by the host to a container", udp(own, lab.HostAddr+":53", looseSourceRoute("172.17.0.2")...), "unpublished"},
		{"strict source route by the host to a container", udp(own, lab.HostAddr+":53", strictSourceRoute("172.17.0.2")...), ""},
		{"loose source route by a container", udp(own, "172.17.0.2:53", looseSourceRoute(lab.FarAddr)...), "unpublished"},
	}
}

// TestNeighbourCannotForge sends frames from the next machine on the wire, to a
// host that is as open as its own switches make it: it routes, routes by source
// and takes 127.0.0.0/8 from its uplink.
func TestNeighbourCannotForge(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("network", "create", "--subnet=172.20.0.0/16", "custombridge")
	l.OK("run", "-d", "--name=net00", "-p", "5353:53/udp", "-p", "127.0.0.1:8081:53/udp", "-p", "127.0.0.1:8082:80")
	l.OK("run", "-d", "--name=net01", "--network=custombridge", "--network-alias=rr")
	openHost(l, "eth0")
	client, host := macOf(l.Client, "eth0"), macOf(l.Host, "eth0")
	witnesses := map[string]*tap{"net00": tapIn(l, "net00"), "net01": tapIn(l, "net01")}
	neighbour := tapOn(l.Client, t, "eth0")
	for _, f := range forgedByNeighbour(client, host, vip(l, "rr")+":53") {
		before := systemInfo(l).Drops
		neighbour.send(f.frame)
		after := systemInfo(l).Drops
		if f.reason != "" && after[f.reason] != before[f.reason]+1 {
			t.Errorf("%s: %d dropped for %s, want 1", f.name, after[f.reason]-before[f.reason], f.reason)
		}
	}
	const honest = "honest"
	neighbour.send(packet{srcMAC: client, dstMAC: host, src: lab.ClientAddr + ":7", dst: lab.HostAddr + ":5353", payload: honest}.bytes())
	ask(l.Host, "udp-ask", "172.20.0.2:53", honest)
	for name, witness := range witnesses {
		expectNoMark(t, name, witness.until(honest))
	}
}

// openHost lets the host's own stack do what it can: with packets that are not
// ours that is the host's business.
func openHost(l *lab.Lab, device string) {
	l.Helper()
	setSysctls(l.Host, "ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1", "ipv4/conf/all/accept_source_route=1",
		"ipv4/conf/"+device+"/accept_source_route=1", "ipv4/conf/"+device+"/route_localnet=1")
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
