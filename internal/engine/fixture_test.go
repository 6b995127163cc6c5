package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/hostnet"
	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/netdev/netdevtest"
	"github.com/sluice-net/sluice/internal/store"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// fixture is an engine in a host namespace of its own, with the store and the
// devices of real life.
type fixture struct {
	*Engine
	t        *testing.T
	db       *store.DB
	datapath *fakeDatapath
}

var hostState = hostnet.State{
	Uplinks: []hostnet.Uplink{{Name: "eth0", Ifindex: 7, Source4: netip.MustParseAddr("192.0.2.1"), Source6: netip.MustParseAddr("2001:db8::1"), Ethernet: true}},
	Addrs:   []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1")},
}

// newFixture returns an engine that has reconciled once.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	netdevtest.Enter(t)
	return newFixtureHere(t)
}

// newFixtureHere is newFixture in the namespace that the test is in.
func newFixtureHere(t *testing.T) *fixture {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	f := &fixture{t: t, db: db, datapath: newFakeDatapath()}
	f.restart()
	must(t, f.Reconcile(context.Background()))
	return f
}

// restart makes a new engine over the same store, kernel and datapath, as a
// daemon does that was killed.
func (f *fixture) restart() {
	f.t.Helper()
	devices, err := netdev.Open("test", filepath.Join(f.t.TempDir(), "borrowed"))
	must(f.t, err)
	f.t.Cleanup(devices.Close)
	host, err := hostnet.Open()
	must(f.t, err)
	f.t.Cleanup(host.Close)
	f.Engine, err = New(Options{
		Store:    f.db,
		Datapath: f.datapath,
		Devices:  devices,
		Host:     host,
		Log:      slog.New(slog.NewTextHandler(f.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	must(f.t, err)
	f.t.Cleanup(f.Engine.Close)
	f.linking.held = true // until it settles
	f.HostChanged(hostState)
}

// snapshot is everything there is: devices, datapath, and the store.
func (f *fixture) snapshot() string {
	f.t.Helper()
	f.Settle()
	var b strings.Builder
	links, err := netlink.LinkList()
	must(f.t, err)
	names := []string{}
	for _, link := range links {
		names = append(names, link.Attrs().Name)
	}
	slices.Sort(names)
	fmt.Fprintf(&b, "devices %v\n", names)
	neighbours, err := netlink.NeighList(0, netlink.FAMILY_ALL)
	must(f.t, err)
	for _, n := range neighbours {
		if n.State == netlink.NUD_PERMANENT {
			fmt.Fprintf(&b, "neighbour %s\n", n.IP)
		}
	}
	b.WriteString(f.datapath.dump())
	for _, bucket := range []string{networkBucket, endpointBucket, aliasBucket} {
		must(f.t, f.db.Each(bucket, func(key string, raw []byte) error {
			fmt.Fprintf(&b, "%s/%s %s\n", bucket, key, raw)
			return nil
		}))
	}
	must(f.t, f.db.Each("ipam", func(key string, raw []byte) error {
		fmt.Fprintf(&b, "ipam/%s %x\n", key, raw)
		return nil
	}))
	r := f.registry
	fmt.Fprintf(&b, "indexes %x %x %x %x\n", r.networkIndexes.used, r.endpointIndexes.used, r.aliasIndexes.used, r.ruleIndexes.used)
	fmt.Fprintf(&b, "owned %d\n", len(r.devices))
	return b.String()
}

func (f *fixture) wantUnchanged(before string) {
	f.t.Helper()
	if after := f.snapshot(); after != before {
		f.t.Errorf("something changed:\n%s\nwas:\n%s", after, before)
	}
}

func (f *fixture) createNetwork(req NetworkRequest) Network {
	f.t.Helper()
	n, err := f.CreateNetwork(context.Background(), req)
	must(f.t, err)
	return n
}

// request asks for an endpoint of a new sandbox.
func (f *fixture) request(network string, ports ...PublishedPort) EndpointRequest {
	f.t.Helper()
	n, err := f.Network(network)
	must(f.t, err)
	return EndpointRequest{
		NetworkID: n.ID,
		Owner:     "net00",
		Sandbox:   netdevtest.NewNamespace(f.t),
		Device:    "eth0",
		Ports:     ports,
	}
}

func (f *fixture) createEndpoint(network string, ports ...PublishedPort) Endpoint {
	f.t.Helper()
	ep, err := f.CreateEndpoint(context.Background(), f.request(network, ports...))
	must(f.t, err)
	return ep
}

// AliasAddress is the IPv4 address of an alias.
func (f *fixture) AliasAddress(networkID, name string) (netip.Addr, bool) {
	addrs := f.AliasAddresses(networkID, name)
	if len(addrs) == 0 {
		return netip.Addr{}, false
	}
	return addrs[0], true
}

// tcp is a port on every address of the host.
func tcp(first, last, target uint16) PublishedPort {
	return PublishedPort{Protocol: unix.IPPROTO_TCP, First: first, Last: last, Target: target}
}

// on is the port on one address.
func (p PublishedPort) on(addr string) PublishedPort {
	p.HostAddr = netip.MustParseAddr(addr)
	return p
}

// defaultRoutes lists those of the calling thread's namespace.
func defaultRoutes() ([]string, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, err
	}
	found := []string{}
	for _, r := range routes {
		if r.Gw != nil {
			found = append(found, "default via "+r.Gw.String())
		}
	}
	return found, nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError checks an error's HTTP status and a part of its message.
func wantError(t *testing.T, err error, status int, part string) {
	t.Helper()
	var e *apierr.Error
	if !errors.As(err, &e) || e.Status != status || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want status %d and %q", err, status, part)
	}
}
