package datapath_test

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// The cast of every single-packet test: a host with one uplink and two
// networks, endpoints a and b in the first and c in the second.
var (
	hostAddr   = netip.MustParseAddr("192.0.2.1")
	clientAddr = netip.MustParseAddr("192.0.2.9")
	remoteAddr = netip.MustParseAddr("198.51.100.7")
	hostMAC    = mustMAC("02:00:00:00:00:01")
	routerMAC  = mustMAC("02:00:00:00:00:fe")

	subnetOne  = netip.MustParsePrefix("172.17.0.0/16")
	gatewayOne = netip.MustParseAddr("172.17.0.1")
	gatewayMAC = mustMAC("02:42:ac:11:00:01")
	subnetTwo  = netip.MustParsePrefix("172.18.0.0/16")
	gatewayTwo = netip.MustParseAddr("172.18.0.1")
)

const (
	networkOne, networkTwo       = 1, 2
	masqueradeOne, masqueradeTwo = 1, 2
	publishTCP, publishUDP       = 3, 4
	published, target            = 8080, 80
)

type endpoint struct {
	station
	index   uint32
	network uint16
	ifindex int
}

type fixture struct {
	t      testing.TB
	config loader.Config
	loader *loader.Loader
	maps   *maps.Maps
	uplink int
	bridge int

	namespace *os.File

	a, b, c endpoint
}

func mustMAC(s string) net.HardwareAddr {
	mac, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return mac
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newFixture gives the calling test a network namespace of its own, and programs
// and empty maps for as long as it runs. The thread is never unlocked: it ends with the test.
func newFixture(t testing.TB, config loader.Config) *fixture {
	t.Helper()
	runtime.LockOSThread()
	must(t, unix.Unshare(unix.CLONE_NEWNET))
	namespace, err := os.Open("/proc/thread-self/ns/net")
	must(t, err)
	t.Cleanup(func() { namespace.Close() })
	f := &fixture{t: t, namespace: namespace}
	f.devices()
	f.load(config)
	f.entries()
	return f
}

// enter gives another goroutine's thread the fixture's namespace; the thread
// ends with the goroutine.
func (f *fixture) enter(t testing.TB) {
	runtime.LockOSThread()
	must(t, unix.Setns(int(f.namespace.Fd()), unix.CLONE_NEWNET))
	f.t = t
}

func (f *fixture) devices() {
	f.uplink = f.veth("uplink0", hostMAC)
	f.bridge = f.link(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bridge0", HardwareAddr: gatewayMAC}})
	f.address("uplink0", netip.PrefixFrom(hostAddr, 24))
	f.address("bridge0", netip.PrefixFrom(gatewayOne, 16))
	must(f.t, netlink.RouteAdd(&netlink.Route{LinkIndex: f.uplink, Gw: net.ParseIP("192.0.2.254")}))
	f.a = endpoint{station{mustMAC("02:42:ac:11:00:02"), gatewayMAC, netip.MustParseAddr("172.17.0.2")}, 1, networkOne, f.veth("veth-a", nil)}
	f.b = endpoint{station{mustMAC("02:42:ac:11:00:03"), gatewayMAC, netip.MustParseAddr("172.17.0.3")}, 2, networkOne, f.veth("veth-b", nil)}
	f.c = endpoint{station{mustMAC("02:42:ac:12:00:02"), gatewayMAC, netip.MustParseAddr("172.18.0.2")}, 3, networkTwo, f.veth("veth-c", nil)}
}

func (f *fixture) link(l netlink.Link) int {
	must(f.t, netlink.LinkAdd(l))
	made, err := netlink.LinkByName(l.Attrs().Name)
	must(f.t, err)
	must(f.t, netlink.LinkSetUp(made))
	return made.Attrs().Index
}

func (f *fixture) veth(name string, mac net.HardwareAddr) int {
	index := f.link(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, HardwareAddr: mac}, PeerName: name + "p"})
	peer, err := netlink.LinkByName(name + "p")
	must(f.t, err)
	must(f.t, netlink.LinkSetUp(peer))
	return index
}

func (f *fixture) address(device string, prefix netip.Prefix) {
	l, err := netlink.LinkByName(device)
	must(f.t, err)
	addr, err := netlink.ParseAddr(prefix.String())
	must(f.t, err)
	must(f.t, netlink.AddrAdd(l, addr))
}

func (f *fixture) dropAddress(device string, prefix netip.Prefix) {
	l, err := netlink.LinkByName(device)
	must(f.t, err)
	addr, err := netlink.ParseAddr(prefix.String())
	must(f.t, err)
	must(f.t, netlink.AddrDel(l, addr))
}

// route adds a route by the router; src may be the zero address.
func (f *fixture) route(prefix string, src netip.Addr) {
	dst, err := netlink.ParseIPNet(prefix)
	must(f.t, err)
	must(f.t, netlink.RouteAdd(&netlink.Route{LinkIndex: f.uplink, Dst: dst, Gw: net.ParseIP("192.0.2.254"), Src: src.AsSlice()}))
}

func (f *fixture) load(config loader.Config) {
	lending := f.link(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lend0"}})
	must(f.t, os.WriteFile("/proc/sys/net/ipv4/conf/lend0/forwarding", []byte("1"), 0))
	config.FIBIfindex = uint32(lending)
	config.ConntrackMax, config.ConntrackNewMax = 2048, 2048
	if config.LocalPorts == [2]uint16{} {
		config.LocalPorts = [2]uint16{32768, 60999}
	}
	f.config = config
	l := borrow(f.t, config)
	m, err := maps.New(l.Maps())
	must(f.t, err)
	f.loader, f.maps = l, m
}

func (f *fixture) entries() {
	m := f.maps
	must(f.t, m.SetRule(masqueradeOne, maps.Rule{Kind: maps.RuleMasquerade, Network: networkOne}))
	must(f.t, m.SetRule(masqueradeTwo, maps.Rule{Kind: maps.RuleMasquerade, Network: networkTwo}))
	must(f.t, m.SetNetwork(networkOne, maps.Network{Subnet: subnetOne, Gateway: gatewayOne, MAC: gatewayMAC, Bridge: uint32(f.bridge), Rule: masqueradeOne}))
	must(f.t, m.SetNetwork(networkTwo, maps.Network{Subnet: subnetTwo, Gateway: gatewayTwo, MAC: gatewayMAC, Rule: masqueradeTwo}))
	must(f.t, m.SetHostAddrs([]maps.HostAddr{{Addr: hostAddr}, {Addr: gatewayOne, Network: networkOne}, {Addr: gatewayTwo, Network: networkTwo}}))
	must(f.t, m.SetUplinks(map[uint32]maps.Sources{uint32(f.uplink): {IPv4: hostAddr}}))
	for _, e := range []endpoint{f.a, f.b, f.c} {
		f.set(e, true, e.index == f.a.index)
	}
	for index, protocol := range map[uint32]uint8{publishTCP: unix.IPPROTO_TCP, publishUDP: unix.IPPROTO_UDP} {
		f.publish(index, protocol, netip.IPv4Unspecified())
	}
}

func (f *fixture) set(e endpoint, ready, translated bool) {
	must(f.t, f.maps.SetEndpoint(e.index, maps.Endpoint{
		Network: e.network, Addr: e.addr, MAC: e.mac, Ifindex: uint32(e.ifindex), Ready: ready, Translated: translated,
	}))
}

func (f *fixture) publish(index uint32, protocol uint8, addr netip.Addr) {
	must(f.t, f.maps.SetRule(index, maps.Rule{
		Kind: maps.RulePublish, Protocol: protocol, HostAddr: addr,
		First: published, Last: published, Target: target, Endpoint: f.a.index,
	}))
}

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		println("these tests need root: they load programs and make network namespaces")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestProgramsLoad(t *testing.T) {
	t.Parallel()
	f := newFixture(t, loader.Config{})
	for _, hook := range []datapath.Hook{datapath.HookContainer, datapath.HookUplink, datapath.HookBridge, datapath.HookResolver} {
		info, err := f.loader.Program(hook).Info()
		must(t, err)
		instructions, _ := info.VerifiedInstructions()
		size, _ := info.JitedSize()
		t.Logf("%s: %d instructions verified, %d bytes of machine code", hook, instructions, size)
	}
}
