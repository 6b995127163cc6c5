package datapath_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
	"github.com/sluice-net/sluice/loader"
)

// What the world has that the fixture has not: an internal network with an
// endpoint, one more endpoint in the first network, an alias, and routes.
var (
	subnetThree  = netip.MustParsePrefix("172.19.0.0/16")
	gatewayThree = netip.MustParseAddr("172.19.0.1")

	refused      = netip.MustParsePrefix("203.0.113.0/25")
	sideways     = netip.MustParsePrefix("203.0.113.128/26") // through a device that is no uplink
	narrow       = netip.MustParsePrefix("203.0.113.192/26") // with a small MTU, which is locked: else routers disregard it
	chosenSource = netip.MustParsePrefix("198.18.0.0/15")    // from another source address
)

const (
	networkThree = 3
	narrowMTU    = 1300 // IPv6 wants 1280
	publishTCP6  = 5
	publishUDP6  = 6
	worldIndices = 16 // all rules, endpoints and aliases are below
)

// world is a datapath, and its model, to which the same happens.
type world struct {
	*fixture
	m       *model.Model
	places  map[string]endpoint // where containers can be, by name
	side    int
	sockets map[model.Socket]func() error // what closes it
	last    heard

	hasThird bool // the host has its third address
}

// heard is a frame where it has arrived: in a container, by its name, or
// "outside", or at the "host".
type heard struct {
	at  string
	raw []byte
}

func newWorld(t testing.TB, config loader.Config) *world {
	f := newFixture(t, ipv4, config)
	w := &world{fixture: f, sockets: map[model.Socket]func() error{}, side: f.veth("side0", nil)}
	w.places = map[string]endpoint{
		"a": f.a, "b": f.b, "c": f.c,
		"d": f.endpoint(3, networkOne, "02:42:ac:11:00:04"),
		"i": {
			station: station{mustMAC("02:42:ac:13:00:02"), gatewayMAC, netip.MustParseAddr("172.19.0.2")},
			index:   5, network: networkThree, ifindex: f.veth("veth-i", nil),
		},
	}
	for _, c := range []*cast{ipv4, ipv6} {
		f.address("uplink0", netip.PrefixFrom(c.secondHost, c.onLink))
	}
	w.routes(func(p netip.Prefix) netip.Prefix { return p }, func(a netip.Addr) netip.Addr { return a })
	w.routes(sixPrefix, six)
	for _, addr := range []netip.Addr{netip.MustParseAddr("192.0.2.254"), clientAddr, narrow.Addr().Next()} {
		must(t, netlink.NeighSet(w.neighbour(addr, routerMAC)))
		must(t, netlink.NeighSet(w.neighbour(six(addr), routerMAC)))
	}
	t.Cleanup(w.closeSockets)
	return w
}

// setThird gives the host its third address, or takes it away.
func (w *world) setThird(has bool) {
	w.t.Helper()
	if w.hasThird == has {
		return
	}
	for _, c := range []*cast{ipv4, ipv6} {
		if third := netip.PrefixFrom(c.thirdHost, c.onLink); has {
			w.address("uplink0", third)
		} else {
			w.dropAddress("uplink0", third)
		}
	}
	w.hasThird = has
	w.forgetNextHops()
}

// forgetNextHops lets nothing be known of them that a change has made untrue, as
// the next tick would.
func (w *world) forgetNextHops() {
	w.t.Helper()
	for _, name := range []string{"next_hops4", "next_hops6"} {
		must(w.t, empty(w.loader.Maps()[name]))
	}
}

// routes makes those of the world, in a family.
func (w *world) routes(prefix func(netip.Prefix) netip.Prefix, addr func(netip.Addr) netip.Addr) {
	w.t.Helper()
	router := addr(netip.MustParseAddr("192.0.2.254"))
	for _, route := range []netlink.Route{
		{Dst: ipNet(w.t, prefix(chosenSource)), LinkIndex: w.uplink, Gw: router.AsSlice(), Src: addr(secondHostAddr).AsSlice()},
		{Dst: ipNet(w.t, prefix(refused)), Type: unix.RTN_UNREACHABLE},
		{Dst: ipNet(w.t, prefix(sideways)), LinkIndex: w.side, Scope: netlink.SCOPE_LINK},
		{Dst: ipNet(w.t, prefix(narrow)), LinkIndex: w.uplink, Scope: netlink.SCOPE_LINK, MTU: narrowMTU, MTULock: true},
	} {
		must(w.t, netlink.RouteAdd(&route))
	}
}

func ipNet(t testing.TB, prefix netip.Prefix) *net.IPNet {
	t.Helper()
	parsed, err := netlink.ParseIPNet(prefix.String())
	must(t, err)
	return parsed
}

// device is where frames from a place are seen.
func (w *world) device(place string) (datapath.Hook, int) {
	switch place {
	case "outside":
		return datapath.HookUplink, w.uplink
	case "host":
		return datapath.HookBridge, w.bridge
	case "loopback":
		return datapath.HookResolver, w.bridge
	case "side":
		return datapath.HookContainer, w.side // a device that is no endpoint's
	}
	return datapath.HookContainer, w.places[place].ifindex
}

// errTick says that a second began while a packet was under way, so that
// nobody can say which one the datapath has seen.
var errTick = errors.New("a second began")

// clock is the time in seconds of CLOCK_MONOTONIC, as of the last tick, and
// whether the datapath's, which counts ticks, surely says the same.
func (w *world) clock() (seconds uint32, sure bool) {
	w.t.Helper()
	const margin = 20 * time.Millisecond
	var now unix.Timespec
	must(w.t, unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &now))
	within := time.Duration(now.Nsec)
	return uint32(now.Sec), within > margin && within < time.Second-margin
}

// settle waits until the clock says one thing.
func (w *world) settle() uint32 {
	for {
		if seconds, sure := w.clock(); sure {
			return seconds
		}
		time.Sleep(time.Millisecond)
	}
}

// send runs a frame through the datapath and the model, and says where they
// part.
func (w *world) send(s sends, raw []byte) error {
	hook, device := w.device(s.from)
	context := skb{Ifindex: uint32(device), GSOSize: uint32(s.gso)}
	if s.forwarded {
		context.IngressIfindex = uint32(w.uplink)
	}
	frame := model.Frame{Hook: hook, Ifindex: uint32(device), Raw: raw, GSO: s.gso, Forwarded: s.forwarded}
	w.m.Now = w.settle()
	got, err := w.try(w.flagsFor(s, frame), hook, context, raw)
	if now, sure := w.clock(); now != w.m.Now || !sure {
		return errTick
	}
	if errors.Is(err, unix.EBADMSG) {
		return fmt.Errorf("%s hook: the sum beside the packet is wrong afterwards", hook)
	} else if err != nil {
		return fmt.Errorf("%s hook: %w", hook, err)
	}
	want := w.m.Receive(frame)
	if got.code == redirect && hook == datapath.HookContainer && bytes.HasPrefix(got.raw, slices.Concat(routerMAC, hostMAC)) {
		copy(got.raw[:2*len(hostMAC)], raw) // straight to a next hop, which redirect_neigh would write for others
	}
	w.remember(hook, got)
	if err := errors.Join(compareFrames(frame, got, want), w.compareTables()); err != nil {
		return fmt.Errorf("%s hook, %s: %w", hook, want.Verdict, err)
	}
	return nil
}

// flagsFor asks BPF_PROG_TEST_RUN, where it can do that, to look after the sum
// beside a frame that goes on as it is. One that becomes another is sent, where
// nobody looks at the sum.
func (w *world) flagsFor(s sends, frame model.Frame) uint32 {
	if !s.summed || frame.GSO > 0 {
		return 0
	}
	guess := w.m.Clone()
	guess.Took = func(model.Key) (uint16, bool) { return 0, false }
	if guess.Receive(frame).Answered {
		return 0
	}
	return checksumComplete()
}

// remember notes where a frame has arrived.
func (w *world) remember(hook datapath.Hook, got result) {
	w.last = heard{raw: got.raw}
	if got.code == shot {
		return
	}
	switch {
	case got.code == redirect:
		w.last.at = "outside"
	case hook == datapath.HookContainer, hook == datapath.HookUplink:
		w.last.at = "host"
	}
	for name, e := range w.places {
		if string(got.raw[:6]) == string(e.mac) {
			w.last.at = name
		}
	}
}
