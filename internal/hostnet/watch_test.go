package hostnet_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/hostnet"
	"github.com/sluice-net/sluice/internal/netdev/netdevtest"
	"github.com/vishvananda/netlink"
)

// patience bounds what a test waits for: a busy machine takes its time.
const patience = 30 * time.Second

// events are what a watcher reported. Its callback for states says that it was
// called, and waits while hold is locked.
type events struct {
	hold       *sync.Mutex
	called     chan struct{}
	states     chan hostnet.State
	forwarding chan struct{}
	own        chan []string
}

// watch runs a watcher of the test's namespace until the test ends.
func watch(t *testing.T, own func(string) bool, only ...string) events {
	t.Helper()
	w, err := hostnet.NewWatcher(own, only)
	must(t, err)
	return run(t, w)
}

func run(t *testing.T, w *hostnet.Watcher) events {
	e := events{new(sync.Mutex), make(chan struct{}, 1000), make(chan hostnet.State, 1000), make(chan struct{}, 1000), make(chan []string, 1000)}
	onState := func(s hostnet.State) {
		e.called <- struct{}{}
		e.hold.Lock()
		defer e.hold.Unlock()
		e.states <- s
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- w.Run(ctx, onState, func() { e.forwarding <- struct{}{} }, func(names []string) { e.own <- names })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return e
}

// wait returns once the watcher has reported the state.
func (e events) wait(t *testing.T, uplinks, addrs string) {
	t.Helper()
	timeout := time.After(patience)
	var last string
	want := uplinks + " " + addrs
	for {
		select {
		case s := <-e.states:
			var names []string
			for _, u := range s.Uplinks {
				names = append(names, fmt.Sprint(u.Name, " ", u.Source4))
			}
			if last = fmt.Sprintf("%v %v", names, s.Addrs); last == want {
				return
			}
		case <-timeout:
			t.Fatalf("the last state is %s, want %s", last, want)
		}
	}
}

// wait6 is wait for one uplink, its IPv6 source and the addresses.
func (e events) wait6(t *testing.T, source, addrs string) {
	t.Helper()
	timeout := time.After(patience)
	var last string
	for want := source + " " + addrs; last != want; {
		select {
		case s := <-e.states:
			last = fmt.Sprintf("%d uplinks, %v", len(s.Uplinks), s.Addrs)
			if len(s.Uplinks) == 1 {
				last = fmt.Sprintf("%v %v", s.Uplinks[0].Source6, s.Addrs)
			}
		case <-timeout:
			t.Fatalf("the last state is %s, want %s", last, want)
		}
	}
}

func (e events) waitForwarding(t *testing.T) {
	t.Helper()
	select {
	case <-e.forwarding:
	case <-time.After(patience):
		t.Fatal("nothing was reported")
	}
}

func nobody(string) bool { return false }

// addVeth makes a pair of devices that are up.
func addVeth(t *testing.T, name, peer string) netlink.Link {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	veth := netlink.NewVeth(attrs)
	veth.PeerName = peer
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func parseAddr(t *testing.T, prefix string) *netlink.Addr {
	t.Helper()
	addr, err := netlink.ParseAddr(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWatchFollowsDevicesAndAddresses(t *testing.T) {
	t.Parallel()
	netdevtest.Enter(t)
	uplink := addVeth(t, "up0", "mine0")
	must(t, netlink.AddrAdd(uplink, parseAddr(t, "10.1.0.5/24")))
	e := watch(t, func(name string) bool { return name == "mine0" })
	e.wait(t, "[up0 10.1.0.5]", "[10.1.0.5]")

	must(t, netlink.AddrAdd(uplink, parseAddr(t, "10.1.0.4/24")))
	e.wait(t, "[up0 10.1.0.5]", "[10.1.0.4 10.1.0.5]")
	must(t, netlink.AddrDel(uplink, parseAddr(t, "10.1.0.5/24"))) // takes the secondary with it
	e.wait(t, "[up0 invalid IP]", "[]")

	attrs := netlink.NewLinkAttrs()
	attrs.Name = "br0"
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	e.wait(t, "[up0 invalid IP br0 invalid IP]", "[]")
	bridge, err := netlink.LinkByName("br0")
	must(t, err)
	must(t, netlink.LinkSetMaster(uplink, bridge))
	e.wait(t, "[br0 invalid IP]", "[]")
	must(t, netlink.LinkSetNoMaster(uplink))
	e.wait(t, "[up0 invalid IP br0 invalid IP]", "[]")
	must(t, netlink.LinkDel(bridge))
	e.wait(t, "[up0 invalid IP]", "[]")
	must(t, netlink.LinkSetName(uplink, "up1"))
	e.wait(t, "[up1 invalid IP]", "[]")
	must(t, netlink.LinkDel(uplink))
	e.wait(t, "[]", "[]")
}

// TestWatchLinkLayers: it says which uplinks are of Ethernet.
func TestWatchLinkLayers(t *testing.T) {
	t.Parallel()
	netdevtest.Enter(t)
	addVeth(t, "up0", "up1")
	must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun0"}, Mode: netlink.TUNTAP_MODE_TUN}))
	got := map[string]bool{}
	for _, u := range (<-watch(t, nobody).states).Uplinks {
		got[u.Name] = u.Ethernet
	}
	if want := map[string]bool{"up0": true, "up1": true, "tun0": false}; !maps.Equal(got, want) {
		t.Errorf("of Ethernet are %v, want %v", got, want)
	}
}

func TestWatchNamedUplinks(t *testing.T) {
	t.Parallel()
	netdevtest.Enter(t)
	addVeth(t, "up0", "up1")
	e := watch(t, nobody, "up1", "later0")
	e.wait(t, "[up1 invalid IP]", "[]")
	addVeth(t, "later0", "other0")
	e.wait(t, "[up1 invalid IP later0 invalid IP]", "[]")
}

func TestWatchForwardingSwitch(t *testing.T) {
	t.Parallel()
	netdevtest.Enter(t)
	e := watch(t, nobody)
	e.wait(t, "[]", "[]")
	must(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))
	e.waitForwarding(t)
}

// TestWatchSurvivesLoss holds the watcher up while more happens than its
// socket has room for.
func TestWatchSurvivesLoss(t *testing.T) {
	t.Parallel()
	netdevtest.Enter(t)
	link := addVeth(t, "up0", "up1")
	w, err := hostnet.NewWatcherWithBuffer(nobody, []string{"up0"}, 4096)
	must(t, err)
	e := run(t, w)
	e.wait(t, "[up0 invalid IP]", "[]")
	for len(e.called) > 0 {
		<-e.called
	}
	e.hold.Lock()
	must(t, netlink.AddrAdd(link, parseAddr(t, "10.2.0.1/24")))
	<-e.called // and nothing is received from here on
	must(t, netlink.AddrDel(link, parseAddr(t, "10.2.0.1/24")))
	for i := range 200 {
		must(t, netlink.AddrAdd(link, parseAddr(t, fmt.Sprintf("10.1.%d.1/24", i))))
	}
	for i := range 199 {
		must(t, netlink.AddrDel(link, parseAddr(t, fmt.Sprintf("10.1.%d.1/24", i))))
	}
	e.hold.Unlock()
	e.wait(t, "[up0 10.1.199.1]", "[10.1.199.1]")
	if len(e.forwarding) == 0 {
		t.Error("a lost notification may have been of the forwarding switch")
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	host := openHost(t)
	link := addVeth(t, "up0", "up1")
	must(t, netlink.AddrAdd(link, parseAddr(t, "10.1.0.5/24")))
	must(t, netlink.LinkSetUp(link))
	for _, dst := range []string{"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "172.17.0.0/16"} {
		_, ipnet, err := net.ParseCIDR(dst)
		must(t, err)
		must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipnet}))
	}
	_, ipnet, _ := net.ParseCIDR("192.168.7.0/24")
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipnet, Table: 77}))

	wantRoutes(t, host, netlink.FAMILY_V4, "10.1.0.0/24", "10.1.0.5/32", "172.17.0.0/16", "192.168.7.0/24")
}

// wantRoutes asserts which destinations of a family there are, in a moment: the
// kernel adds those of IPv6 addresses later.
func wantRoutes(t *testing.T, host *hostnet.Host, family int, want ...string) {
	t.Helper()
	slices.Sort(want)
	var got []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		routes, err := host.Routes(family)
		must(t, err)
		got = nil
		for _, r := range routes {
			got = append(got, r.String())
		}
		slices.Sort(got)
		if got = slices.Compact(got); slices.Equal(got, want) {
			return
		}
	}
	t.Errorf("routes: %v, want %v", got, want)
}

func TestEphemeralPorts(t *testing.T) {
	t.Parallel()
	host := openHost(t)
	must(t, os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 50000"), 0))
	first, last, err := host.EphemeralPorts()
	if err != nil || first != 40000 || last != 50000 {
		t.Errorf("%d to %d, %v", first, last, err)
	}
}

// TestWatchOwn covers what somebody may do to a device of ours.
func TestWatchOwn(t *testing.T) {
	t.Parallel()
	netdevtest.Enter(t)
	ours := addVeth(t, "ours", "peer")
	addr, err := netlink.ParseAddr("192.0.2.1/24")
	must(t, err)
	must(t, netlink.AddrAdd(ours, addr))
	e := watch(t, func(name string) bool { return name == "ours" })
	e.wait(t, "[peer invalid IP]", "[192.0.2.1]")
	for _, change := range []struct {
		name string
		do   func() error
	}{
		{"address removed", func() error { return netlink.AddrDel(ours, addr) }},
		{"set up", func() error { return netlink.LinkSetUp(ours) }},
		{"forwarding", func() error { return os.WriteFile("/proc/sys/net/ipv4/conf/ours/forwarding", []byte("1"), 0) }},
		{"deleted", func() error { return netlink.LinkDel(ours) }},
	} {
		for len(e.own) > 0 {
			<-e.own
		}
		must(t, change.do())
		select {
		case names := <-e.own:
			if len(names) != 1 || names[0] != "ours" {
				t.Errorf("%s: told of %q", change.name, names)
			}
		case <-time.After(patience):
			t.Errorf("%s: nobody was told", change.name)
		}
		time.Sleep(50 * time.Millisecond) // for the rest of the burst
	}
}
