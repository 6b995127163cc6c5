package e2e

import (
	"net"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/internal/lab"
)

// Hardware addresses follow from addresses, as Docker's do.
var (
	gatewayMAC      = mustMAC("02:42:ac:11:00:01")
	firstMAC        = mustMAC("02:42:ac:11:00:02")
	secondMAC       = mustMAC("02:42:ac:11:00:03")
	otherGatewayMAC = mustMAC("02:42:ac:14:00:01")
	nobodysMAC      = mustMAC("02:00:00:00:00:99")
)

// Options of IPv4 that let the sender say by whom the packet goes (RFC 791,
// 3.1): one stop, which has not been reached.
func looseSourceRoute(stop string) []byte  { return sourceRoute(131, stop) }
func strictSourceRoute(stop string) []byte { return sourceRoute(137, stop) }

func sourceRoute(kind byte, stop string) []byte {
	return slices.Concat([]byte{kind, 7, 4}, net.ParseIP(stop).To4(), []byte{0})
}

// forged is a frame that nobody may get, and the reason that it is dropped for.
type forged struct {
	name   string
	frame  []byte
	reason string
}

// mark is in the payload of forged frames, and in no other.
const mark = "forged"

// forgedByContainer are frames of the first container of the default network.
// The second one is beside it, 172.20.0.2 in another network.
func forgedByContainer() []forged {
	udp := func(srcMAC, dstMAC net.HardwareAddr, src, dst string, options ...byte) []byte {
		return packet{srcMAC: srcMAC, dstMAC: dstMAC, src: src, dst: dst, options: options, payload: mark}.bytes()
	}
	own, beside, outside := "172.17.0.2:7", "172.17.0.3:7", lab.ClientAddr+":7"
	tagged := slices.Clone(udp(firstMAC, secondMAC, own, beside))
	tagged = slices.Concat(tagged[:12], []byte{0x81, 0, 0, 5}, tagged[12:])
	return []forged{
		{"MAC of a neighbour", udp(secondMAC, gatewayMAC, own, outside), "spoofed-mac"},
		{"MAC of nobody, to a neighbour", udp(nobodysMAC, secondMAC, own, beside), "spoofed-mac"},
		{"MAC of the gateway, to everybody", udp(gatewayMAC, layers.EthernetBroadcast, own, "255.255.255.255:7"), "spoofed-mac"},

		{"address of a neighbour, to the outside", udp(firstMAC, gatewayMAC, beside, outside), "spoofed-address"},
		{"address of the gateway, to a neighbour", udp(firstMAC, secondMAC, "172.17.0.1:7", beside), "spoofed-address"},
		{"address of the host, to the outside", udp(firstMAC, gatewayMAC, lab.HostAddr+":7", outside), "spoofed-address"},
		{"address of a container elsewhere", udp(firstMAC, secondMAC, "172.20.0.2:7", beside), "spoofed-address"},
		{"loopback address, to the host", udp(firstMAC, gatewayMAC, "127.0.0.1:7", "172.17.0.1:7"), "spoofed-address"},
		{"no address, to everybody", udp(firstMAC, layers.EthernetBroadcast, "0.0.0.0:68", "255.255.255.255:67"), "spoofed-address"},
		{"broadcast address", udp(firstMAC, secondMAC, "172.17.255.255:7", beside), "spoofed-address"},

		{"to a loopback address of the host", udp(firstMAC, gatewayMAC, own, "127.0.0.1:8081"), "martian"},
		{"to no address", udp(firstMAC, gatewayMAC, own, "0.0.0.0:8080"), "martian"},
		{"to another network", udp(firstMAC, gatewayMAC, own, "172.20.0.2:53"), "isolation"},
		{"to another network, by its gateway's MAC", udp(firstMAC, otherGatewayMAC, own, "172.20.0.2:53"), "isolation"},
		{"to another network's gateway", udp(firstMAC, gatewayMAC, own, "172.20.0.1:5353"), "isolation"},

		{"ARP: the gateway is here", arp(layers.ARPReply, firstMAC, firstMAC, "172.17.0.1", "172.17.0.3"), "spoofed-arp"},
		{"ARP: a neighbour is here, unasked", arp(layers.ARPRequest, firstMAC, firstMAC, "172.17.0.3", "172.17.0.3"), "spoofed-arp"},
		{"ARP: another MAC in the payload", arp(layers.ARPReply, firstMAC, nobodysMAC, "172.17.0.2", "172.17.0.3"), "spoofed-arp"},
		{"ARP by another MAC", arp(layers.ARPReply, nobodysMAC, firstMAC, "172.17.0.2", "172.17.0.3"), "spoofed-mac"},

		{"VLAN tag", tagged, "ethertype"},
		{"LLDP", serialize(&layers.Ethernet{SrcMAC: firstMAC, DstMAC: secondMAC, EthernetType: layers.EthernetTypeLinkLayerDiscovery}, gopacket.Payload(mark)), "ethertype"},
		{"spanning tree", serialize(&layers.Ethernet{SrcMAC: firstMAC, DstMAC: mustMAC("01:80:c2:00:00:00"), Length: 38}, gopacket.Payload(append([]byte{0x42, 0x42, 3}, make([]byte, 35)...))), "ethertype"},
		{"half a header", serialize(&layers.Ethernet{SrcMAC: firstMAC, DstMAC: secondMAC, EthernetType: layers.EthernetTypeIPv4}, gopacket.Payload(mark)), "malformed"},

		{"loose source route, to the outside", udp(firstMAC, gatewayMAC, own, outside, looseSourceRoute("172.17.0.3")...), "source-route"},
		{"loose source route, by the gateway to loopback", udp(firstMAC, gatewayMAC, own, "172.17.0.1:8081", looseSourceRoute("127.0.0.1")...), "source-route"},
		{"strict source route, by the gateway to another network", udp(firstMAC, gatewayMAC, own, "172.17.0.1:53", strictSourceRoute("172.20.0.2")...), "source-route"},
	}
}

// TestContainerCannotForge sends what a container may not, from a packet socket
// inside it, which Docker's default capabilities allow. Nobody gets any of it.
func TestContainerCannotForge(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("network", "create", "--subnet=172.20.0.0/16", "custombridge")
	l.OK("run", "-d", "--name=evil")
	l.OK("run", "-d", "--name=beside", "-p", "5353:53/udp")
	l.OK("run", "-d", "--name=elsewhere", "--network=custombridge")
	setSysctls(l.Host, "ipv4/conf/all/accept_source_route=1", "ipv4/conf/sluice0/accept_source_route=1")
	evil := tapIn(l, "evil")
	witnesses := map[string]*tap{
		"beside": tapIn(l, "beside"), "elsewhere": tapIn(l, "elsewhere"),
		"the host": tapOn(l.Host, t, "sluice0"), "the outside": tapOn(l.Client, t, "eth0"),
	}
	for _, f := range forgedByContainer() {
		before := systemInfo(l).Drops[f.reason]
		evil.send(f.frame)
		if after := systemInfo(l).Drops[f.reason]; after != before+1 {
			t.Errorf("%s: %d dropped for %s, want 1", f.name, after-before, f.reason)
		}
	}

	const honest = "honest"
	send := func(dstMAC net.HardwareAddr, dst string) {
		evil.send(packet{srcMAC: firstMAC, dstMAC: dstMAC, src: "172.17.0.2:7", dst: dst, payload: honest}.bytes())
	}
	send(secondMAC, "172.17.0.3:7")
	send(gatewayMAC, "172.17.0.1:7")
	send(gatewayMAC, lab.ClientAddr+":7")
	for name, witness := range witnesses {
		if name == "elsewhere" {
			ask(l.Host, "udp-ask", "172.20.0.2:7", honest)
		}
		expectNoMark(t, name, witness.until(honest))
	}
}
