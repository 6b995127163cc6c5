package datapath_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/sluice-net/sluice/loader"
)

// The cast of every single-packet test: a host with one uplink and two
// networks, endpoints a, b and d in the first and c in the second. Hardware
// addresses, ports and indexes are those of both families.
var (
	hostMAC    = mustMAC("02:00:00:00:00:01")
	routerMAC  = mustMAC("02:00:00:00:00:fe")
	gatewayMAC = mustMAC("02:42:ac:11:00:01")
	vipMAC     = mustMAC("02:42:ac:11:ff:fe")
)

const (
	networkOne, networkTwo       = 1, 2
	masqueradeOne, masqueradeTwo = 1, 2
	publishTCP, publishUDP       = 3, 4
	published, target            = 8080, 80
)

// cast has the addresses of one family.
type cast struct {
	name                        string
	client, remote              station // near the uplink, and behind the router
	loopback                    station // a process of the host that is bound to such an address
	router                      netip.Addr
	host, secondHost, thirdHost netip.Addr // secondHost and thirdHost are set where a test wants them
	onLink                      int        // how long the uplink's prefix is
	subnetOne, subnetTwo        netip.Prefix
	gatewayOne, gatewayTwo      netip.Addr
	endpoints                   [4]netip.Addr // of a, b, c and d
	vip, otherVIP               netip.Addr
	nobody                      netip.Addr   // of the first network
	preferred                   netip.Addr   // of the host, where a route says so
	elsewhere                   netip.Prefix // outside
	loop                        netip.Addr   // 127.0.0.1 or ::1
	groups                      []netip.Addr // which are for all: broadcast, multicast
	martians                    []netip.Addr // which no packet on a wire may have
	unspecified                 netip.Addr
	icmp                        icmpNumbers
}

// icmpNumbers are the types of ICMP's messages.
type icmpNumbers struct {
	protocol                                   uint8
	echo, reply                                uint8
	unreachable, port                          uint8 // port is a code
	timeExceeded, tooBig, tooBigCode, redirect uint8
	question                                   uint8 // a message that has no ports and is no error
}

var ipv4 = &cast{
	name:   "IPv4",
	client: client, remote: remote, loopback: loopback,
	router: addr("192.0.2.254"), host: hostAddr, secondHost: secondHostAddr, thirdHost: addr("192.0.2.3"), onLink: 24,
	subnetOne: subnetOne, gatewayOne: gatewayOne, subnetTwo: subnetTwo, gatewayTwo: gatewayTwo,
	endpoints: [4]netip.Addr{addr("172.17.0.2"), addr("172.17.0.3"), addr("172.18.0.2"), addr("172.17.0.4")},
	vip:       vipAddr, otherVIP: addr("172.17.255.253"), nobody: addr("172.17.9.9"),
	preferred: addr("192.0.2.77"),
	elsewhere: netip.MustParsePrefix("203.0.113.0/24"), loop: loopback.addr, unspecified: netip.IPv4Unspecified(),
	groups:   []netip.Addr{addr("255.255.255.255"), addr("172.17.255.255"), addr("224.0.0.251"), addr("240.0.0.1")},
	martians: []netip.Addr{addr("127.0.0.1"), addr("127.255.255.255"), addr("0.0.0.0"), addr("0.1.2.3")},
	icmp: icmpNumbers{
		protocol: 1, echo: 8, reply: 0, unreachable: 3, port: 3, timeExceeded: 11, tooBig: 3, tooBigCode: 4, redirect: 5, question: 13,
	},
}

// Its addresses are the twins of those of IPv4.
var ipv6 = &cast{
	name:     "IPv6",
	client:   station{routerMAC, hostMAC, six(ipv4.client.addr)},
	remote:   station{routerMAC, hostMAC, six(ipv4.remote.addr)},
	loopback: station{gatewayMAC, loopback.hop, six(ipv4.loopback.addr)},
	router:   six(ipv4.router), host: six(ipv4.host), secondHost: six(ipv4.secondHost), thirdHost: six(ipv4.thirdHost),
	onLink:    sixPrefix(netip.PrefixFrom(ipv4.host, ipv4.onLink)).Bits(),
	subnetOne: sixPrefix(ipv4.subnetOne), gatewayOne: six(ipv4.gatewayOne),
	subnetTwo: sixPrefix(ipv4.subnetTwo), gatewayTwo: six(ipv4.gatewayTwo),
	endpoints: [4]netip.Addr{six(ipv4.endpoints[0]), six(ipv4.endpoints[1]), six(ipv4.endpoints[2]), six(ipv4.endpoints[3])},
	vip:       six(ipv4.vip), otherVIP: six(ipv4.otherVIP), nobody: six(ipv4.nobody),
	preferred: addr("fd99::77"), // which the kernel takes by itself for no global address (RFC 6724)
	elsewhere: sixPrefix(ipv4.elsewhere), loop: netip.IPv6Loopback(), unspecified: netip.IPv6Unspecified(),
	groups:   []netip.Addr{addr("ff02::1"), addr("ff02::fb"), addr("ff05::2"), addr("ff0e::1234")},
	martians: []netip.Addr{addr("::"), addr("::1"), addr("::ffff:192.0.2.9"), addr("::ffff:127.0.0.1")},
	icmp: icmpNumbers{
		protocol: 58, echo: 128, reply: 129, unreachable: 1, port: 4, timeExceeded: 3, tooBig: 2, redirect: 137, question: 139,
	},
}

// other is the same cast by the addresses of the other family.
func (c *cast) other() *cast {
	if c == ipv4 {
		return ipv6
	}
	return ipv4
}

// headerLength is that of the shortest IP header.
func (c *cast) headerLength() int {
	if c == ipv4 {
		return 20
	}
	return ipv6Header
}

// network is Go's name for sockets of a kind ("tcp", "udp"). Without the number
// it would depend on what Go believes that the host has.
func (c *cast) network(kind string) string { return kind + c.name[len("IPv"):] }

// castOf is that of an address's family.
func castOf(addr netip.Addr) *cast {
	if addr.Is4() {
		return ipv4
	}
	return ipv6
}

// bothFamilies runs a test with each family's cast.
func bothFamilies(t *testing.T, test func(t *testing.T, c *cast)) {
	t.Helper()
	t.Parallel()
	for _, c := range []*cast{ipv4, ipv6} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

// withFixtures runs a test in a fixture of each family. Programs that few tests
// want serve one family after the other.
func withFixtures(t *testing.T, config loader.Config, test func(t *testing.T, f *fixture)) {
	t.Helper()
	t.Parallel()
	for _, c := range []*cast{ipv4, ipv6} {
		t.Run(c.name, func(t *testing.T) {
			if key(config) == key(loader.Config{}) {
				t.Parallel()
			}
			test(t, newFixture(t, c, config))
		})
	}
}

// station sends frames: its own hardware address, that of its next hop and
// its IP address.
type station struct {
	mac, hop net.HardwareAddr
	addr     netip.Addr
}

// at is a port of the station's address.
func (s station) at(port uint16) netip.AddrPort { return netip.AddrPortFrom(s.addr, port) }

// at is a port of an address.
func at(addr netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(addr, port) }

// single is a prefix that only an address has.
func single(addr netip.Addr) string { return netip.PrefixFrom(addr, addr.BitLen()).String() }

// endpoint is a container's place in a network.
type endpoint struct {
	station
	index   uint32
	network uint16
	ifindex int
	other   netip.Addr // of the other family
}

// The addresses that ipv4 has, for tests of IPv4 alone.
var (
	hostAddr       = netip.MustParseAddr("192.0.2.1")
	secondHostAddr = netip.MustParseAddr("192.0.2.2")
	clientAddr     = netip.MustParseAddr("192.0.2.9")
	remoteAddr     = netip.MustParseAddr("198.51.100.7")
	subnetOne      = netip.MustParsePrefix("172.17.0.0/16")
	gatewayOne     = netip.MustParseAddr("172.17.0.1")
	subnetTwo      = netip.MustParsePrefix("172.18.0.0/16")
	gatewayTwo     = netip.MustParseAddr("172.18.0.1")
	vipAddr        = netip.MustParseAddr("172.17.255.254")

	client   = station{routerMAC, hostMAC, clientAddr}
	remote   = station{routerMAC, hostMAC, remoteAddr}
	loopback = station{gatewayMAC, mustMAC("02:42:ac:11:00:02"), netip.MustParseAddr("127.0.0.1")}
)

func remoteAddrPort(port uint16) netip.AddrPort { return at(remoteAddr, port) }
func hostAddrPort(port uint16) netip.AddrPort   { return at(hostAddr, port) }
func vipAddrPort(port uint16) netip.AddrPort    { return at(vipAddr, port) }
