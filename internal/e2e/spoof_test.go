package e2e

import (
	"net"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Hardware addresses follow from IPv4 addresses, as Docker's do.
var (
	gatewayMAC = mustMAC("02:42:ac:11:00:01")
	firstMAC   = mustMAC("02:42:ac:11:00:02")
	secondMAC  = mustMAC("02:42:ac:11:00:03")
	nobodysMAC = mustMAC("02:00:00:00:00:99")
)

// forged is a frame that nobody may get, and the reason that it is dropped for.
type forged struct {
	name   string
	frame  []byte
	reason string
}

// mark is in the payload of forged frames, and in no other.
const mark = "forged"

// forger makes frames of the first container of the default network. The second
// one is beside it; the first one of another network is elsewhere.
type forger struct {
	family
	beside          string // the second one's address
	otherGatewayMAC net.HardwareAddr
}

func (f forger) udp(srcMAC, dstMAC net.HardwareAddr, src, dst string) []byte {
	return packet{srcMAC: srcMAC, dstMAC: dstMAC, src: port(src, "7"), dst: port(dst, "7"), payload: mark}.bytes()
}

// own is a datagram of the container, by the gateway.
func (f forger) own(dst, number string) []byte {
	return packet{srcMAC: firstMAC, dstMAC: gatewayMAC, src: port(f.first, "7"), dst: port(dst, number), payload: mark}.bytes()
}

// tagged is a frame in a VLAN.
func tagged(frame []byte) []byte { return slices.Concat(frame[:12], []byte{0x81, 0, 0, 5}, frame[12:]) }

// everyFamily are frames that are forged in either family.
func (f forger) everyFamily() []forged {
	elsewhere := f.own(f.inOther, "53")
	copy(elsewhere, f.otherGatewayMAC)
	return []forged{
		{"MAC of a neighbour", f.udp(secondMAC, gatewayMAC, f.first, f.client), "spoofed-mac"},
		{"MAC of nobody, to a neighbour", f.udp(nobodysMAC, secondMAC, f.first, f.beside), "spoofed-mac"},

		{"address of a neighbour, to the outside", f.udp(firstMAC, gatewayMAC, f.beside, f.client), "spoofed-address"},
		{"address of the gateway, to a neighbour", f.udp(firstMAC, secondMAC, f.gateway, f.beside), "spoofed-address"},
		{"address of the host, to the outside", f.udp(firstMAC, gatewayMAC, f.host, f.client), "spoofed-address"},
		{"address of a container elsewhere", f.udp(firstMAC, secondMAC, f.inOther, f.beside), "spoofed-address"},
		{"loopback address, to the host", f.udp(firstMAC, gatewayMAC, f.loopback, f.gateway), "spoofed-address"},

		{"to a loopback address of the host", f.own(f.loopback, "8081"), "martian"},
		{"to another network", f.own(f.inOther, "53"), "isolation"},
		{"to another network, by its gateway's MAC", elsewhere, "isolation"},
		{"to another network's gateway", f.own(f.other, "5353"), "isolation"},

		{"VLAN tag", tagged(f.udp(firstMAC, secondMAC, f.first, f.beside)), "ethertype"},
		{"LLDP", serialize(&layers.Ethernet{SrcMAC: firstMAC, DstMAC: secondMAC, EthernetType: layers.EthernetTypeLinkLayerDiscovery}, gopacket.Payload(mark)), "ethertype"},
		{"spanning tree", serialize(&layers.Ethernet{SrcMAC: firstMAC, DstMAC: mustMAC("01:80:c2:00:00:00"), Length: 38}, gopacket.Payload(append([]byte{0x42, 0x42, 3}, make([]byte, 35)...))), "ethertype"},
		{"half a header", f.own(f.client, "7")[:14+len(mark)], "malformed"},
	}
}

// TestContainerCannotForge sends what a container may not, from a packet socket
// inside it, which Docker's default capabilities allow. Nobody gets any of it.
func TestContainerCannotForge(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		f.network(l, "custombridge")
		l.OK("run", "-d", "--name=evil")
		l.OK("run", "-d", "--name=beside", "-p", "5353:53/udp")
		l.OK("run", "-d", "--name=elsewhere", "--network=custombridge")
		setSysctls(l.Host, "ipv4/conf/all/accept_source_route=1", "ipv4/conf/sluice0/accept_source_route=1")
		evil := tapIn(l, "evil")
		witnesses := map[string]*tap{
			"beside": tapIn(l, "beside"), "elsewhere": tapIn(l, "elsewhere"),
			"the host": tapOn(l.Host, t, "sluice0"), "the outside": tapOn(l.Client, t, "eth0"),
		}
		forger := forger{f, f.addressOf(l, "beside", "bridge"), macOf(l.Host, bridgeOf(l, "custombridge"))}
		for _, f := range append(forger.everyFamily(), forger.oneFamily()...) {
			before := systemInfo(l).Drops[f.reason]
			evil.send(f.frame)
			if after := systemInfo(l).Drops[f.reason]; after != before+1 {
				t.Errorf("%s: %d dropped for %s, want 1", f.name, after-before, f.reason)
			}
		}

		const honest = "honest"
		send := func(dstMAC net.HardwareAddr, dst string) {
			evil.send(packet{srcMAC: firstMAC, dstMAC: dstMAC, src: port(f.first, "7"), dst: port(dst, "7"), payload: honest}.bytes())
		}
		send(secondMAC, forger.beside)
		send(gatewayMAC, f.gateway)
		send(gatewayMAC, f.client)
		for name, witness := range witnesses {
			if name == "elsewhere" {
				ask(l.Host, "udp-ask", port(f.inOther, "7"), honest)
			}
			expectNoMark(t, name, witness.until(honest))
		}
	})
}

func (f forger) oneFamily() []forged {
	if f.is6() {
		return f.ipv6()
	}
	return f.ipv4()
}
