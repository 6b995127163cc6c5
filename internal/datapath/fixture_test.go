package datapath_test

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// fixture is the cast's host: devices and addresses in a network namespace, maps
// and programs. It has what belongs to both families, and looks at it by the
// cast's.
type fixture struct {
	*cast
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
// and empty maps for as long as it runs. The thread is never unlocked: it ends
// with the test.
func newFixture(t testing.TB, c *cast, config loader.Config) *fixture {
	t.Helper()
	runtime.LockOSThread()
	must(t, unix.Unshare(unix.CLONE_NEWNET))
	namespace, err := os.Open("/proc/thread-self/ns/net")
	must(t, err)
	t.Cleanup(func() { namespace.Close() })
	f := &fixture{cast: c, t: t, namespace: namespace}
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
	for _, c := range []*cast{ipv4, ipv6} {
		f.address("uplink0", netip.PrefixFrom(c.host, c.onLink))
		f.address("bridge0", netip.PrefixFrom(c.gatewayOne, c.subnetOne.Bits()))
		must(f.t, netlink.RouteAdd(&netlink.Route{LinkIndex: f.uplink, Gw: c.router.AsSlice()}))
	}
	f.a = f.endpoint(0, networkOne, "02:42:ac:11:00:02")
	f.b = f.endpoint(1, networkOne, "02:42:ac:11:00:03")
	f.c = f.endpoint(2, networkTwo, "02:42:ac:12:00:02")
}

// endpoint is one of the cast's, of which it is the nth.
func (f *fixture) endpoint(n int, network uint16, mac string) endpoint {
	return endpoint{
		station: station{mustMAC(mac), gatewayMAC, f.endpoints[n]}, other: f.cast.other().endpoints[n],
		index: uint32(n + 1), network: network, ifindex: f.veth("veth-"+string(rune('a'+n)), nil),
	}
}

// third is one more endpoint of the first network.
func (f *fixture) third() endpoint {
	e := f.endpoint(3, networkOne, "02:42:ac:11:00:04")
	f.set(e, true, false)
	return e
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

// address gives a device an address that nobody asks about first.
func (f *fixture) address(device string, prefix netip.Prefix) {
	l, err := netlink.LinkByName(device)
	must(f.t, err)
	addr, err := netlink.ParseAddr(prefix.String())
	must(f.t, err)
	if prefix.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	must(f.t, netlink.AddrAdd(l, addr))
	if prefix.Addr().Is6() {
		f.awaitLocal(prefix.Addr())
	}
}

// awaitLocal waits until an address is one of the host's: the kernel leaves that
// to a worker.
func (f *fixture) awaitLocal(addr netip.Addr) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		routes, err := netlink.RouteGet(addr.AsSlice())
		if err == nil && routes[0].Type == unix.RTN_LOCAL {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("%s is no address of the host: %v", addr, err)
		}
	}
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
	router := castOf(netip.MustParsePrefix(prefix).Addr()).router
	must(f.t, netlink.RouteAdd(&netlink.Route{LinkIndex: f.uplink, Dst: dst, Gw: router.AsSlice(), Src: src.AsSlice()}))
}

func (f *fixture) blackhole(prefix string) {
	dst, err := netlink.ParseIPNet(prefix)
	must(f.t, err)
	must(f.t, netlink.RouteAdd(&netlink.Route{Dst: dst, Type: unix.RTN_BLACKHOLE}))
}

func (f *fixture) load(config loader.Config) {
	lending := f.link(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lend0"}})
	for _, family := range []string{"ipv4", "ipv6"} {
		must(f.t, os.WriteFile("/proc/sys/net/"+family+"/conf/lend0/forwarding", []byte("1"), 0))
	}
	config.FIBIfindex = uint32(lending)
	config.ConntrackMax, config.ConntrackNewMax = 2048, 2048
	if config.LocalPorts == [2]uint16{} {
		config.LocalPorts = [2]uint16{32768, 60999}
	}
	f.config = config
	l := borrow(f.t, config)
	m, err := maps.New(l.Maps(), l.FlowTable())
	must(f.t, err)
	f.loader, f.maps = l, m
}

// program returns the program of a hook, which is loaded for the first test that
// runs it.
func (f *fixture) program(hook datapath.Hook) *ebpf.Program {
	f.t.Helper()
	must(f.t, f.loader.Load(hook))
	return f.loader.Program(hook)
}

func (f *fixture) entries() {
	m := f.maps
	must(f.t, m.SetRule(masqueradeOne, maps.Rule{Kind: maps.RuleMasquerade, Network: networkOne}))
	must(f.t, m.SetRule(masqueradeTwo, maps.Rule{Kind: maps.RuleMasquerade, Network: networkTwo}))
	f.networkOne(masqueradeOne)
	must(f.t, m.SetNetwork(networkTwo, maps.Network{
		Subnet: ipv4.subnetTwo, Gateway: ipv4.gatewayTwo, Subnet6: ipv6.subnetTwo, Gateway6: ipv6.gatewayTwo,
		MAC: gatewayMAC, Rule: masqueradeTwo,
	}))
	f.hostAddrs()
	must(f.t, m.SetUplinks(map[uint32]maps.Uplink{uint32(f.uplink): {IPv4: ipv4.host, IPv6: ipv6.host, Ethernet: true}}))
	for _, e := range []endpoint{f.a, f.b, f.c} {
		f.set(e, true, e.index == f.a.index)
	}
	for index, protocol := range map[uint32]uint8{publishTCP: unix.IPPROTO_TCP, publishUDP: unix.IPPROTO_UDP} {
		f.publish(index, protocol, f.unspecified)
	}
}

// networkOne writes the first network with a rule for masquerade, or none.
func (f *fixture) networkOne(rule uint32) {
	must(f.t, f.maps.SetNetwork(networkOne, maps.Network{
		Subnet: ipv4.subnetOne, Gateway: ipv4.gatewayOne, Subnet6: ipv6.subnetOne, Gateway6: ipv6.gatewayOne,
		MAC: gatewayMAC, Bridge: uint32(f.bridge), Rule: rule,
	}))
}

// hostAddrs writes the host's addresses, with more of them on the uplink.
func (f *fixture) hostAddrs(more ...netip.Addr) {
	f.t.Helper()
	var addrs []maps.HostAddr
	for _, c := range []*cast{ipv4, ipv6} {
		addrs = append(addrs, maps.HostAddr{Addr: c.host},
			maps.HostAddr{Addr: c.gatewayOne, Network: networkOne}, maps.HostAddr{Addr: c.gatewayTwo, Network: networkTwo})
	}
	for _, addr := range more {
		addrs = append(addrs, maps.HostAddr{Addr: addr})
	}
	must(f.t, f.maps.SetHostAddrs(addrs))
}

func (f *fixture) set(e endpoint, ready, translated bool) {
	known := e.known()
	known.Ready, known.Translated = ready, translated
	must(f.t, f.maps.SetEndpoint(e.index, known))
}

// final makes an endpoint that nobody reaches by translation final.
func (f *fixture) final(e endpoint) {
	known := e.known()
	known.Ready, known.Final = true, true
	must(f.t, f.maps.SetEndpoint(e.index, known))
}

// known is what the datapath is told of an endpoint, but for its state.
func (e endpoint) known() maps.Endpoint {
	addrs := map[bool]netip.Addr{e.addr.Is6(): e.addr, e.addr.Is4(): e.other}
	return maps.Endpoint{Network: e.network, Addr: addrs[false], Addr6: addrs[true], MAC: e.mac, Ifindex: uint32(e.ifindex)}
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

// verified is how many instructions the verifier of Linux 6.18 follows when a hook is
// loaded. Those of 6.1 and 6.12 follow fewer.
var verified = map[datapath.Hook]uint32{
	datapath.HookContainer: 67000,
	datapath.HookUplink:    53500,
	datapath.HookBridge:    44400,
	datapath.HookResolver:  2100,
}

func TestProgramsLoad(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv4, loader.Config{})
	for hook, usual := range verified {
		info, err := f.program(hook).Info()
		must(t, err)
		instructions, _ := info.VerifiedInstructions()
		size, _ := info.JitedSize()
		t.Logf("%s: %d instructions verified, %d bytes of machine code", hook, instructions, size)
		if most := usual + usual/2; instructions > most {
			t.Errorf("%s: %d instructions verified, want at most %d: docs/development.md says what multiplies them",
				hook, instructions, most)
		}
	}
}
