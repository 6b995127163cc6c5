package e2e

import (
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

// exchangeFamily is what an integrityLab has of an address family.
type exchangeFamily struct {
	name     string
	headers  int // bytes of the headers of IP and UDP
	narrow   int // the MTU of a narrow wire
	loopback string
	host     string
	beyond   string
	plain    string
	vip      func(l *lab.Lab, alias string) string
}

var exchangeFamilies = []exchangeFamily{
	{"IPv4", 28, 1000, "127.0.0.1", lab.HostAddr, beyondAddr, "198.18.1.2", vip},
	{"IPv6", 48, 1280, "::1", lab.HostAddr6, beyondAddr6, "2001:db8:19::2", vip6},
}

// integrityLab is a routed lab with a server behind a published port and an
// alias, and a container beside it. A twin of the way to the host, with a router
// in its place, leads to a server that is reached without us:
//
//	beyond ── client ──┬── host ──── web, beside
//	                   └── router ── plain
type integrityLab struct {
	*lab.Lab
	family                exchangeFamily
	beyond, router, plain *lab.Namespace
	web, beside           *lab.Namespace // the containers'

	counted pathCounters // up to now
}

func newIntegrityLab(t *testing.T, f exchangeFamily) *integrityLab {
	t.Helper()
	l, beyond := routedLab(t, 1500)
	x := &integrityLab{Lab: l, family: f, beyond: beyond, router: lab.NewNamespace(t, "router"), plain: lab.NewNamespace(t, "plain")}
	lab.Veth(l.Client, "eth1", x.router, "eth0")
	lab.Veth(x.router, "eth1", x.plain, "eth0")
	l.Client.Address("eth1", "198.18.0.1/24")
	x.router.Address("eth0", "198.18.0.2/24")
	x.router.Address("eth1", "198.18.1.1/24")
	x.plain.Address("eth0", "198.18.1.2/24")
	l.Client.Address("eth1", "2001:db8:18::1/64")
	x.router.Address("eth0", "2001:db8:18::2/64")
	x.router.Address("eth1", "2001:db8:19::1/64")
	x.plain.Address("eth0", "2001:db8:19::2/64")
	for _, v := range []struct{ toPlain, back, out string }{
		{"198.18.0.2", "198.18.0.1", "198.18.1.1"},
		{"2001:db8:18::2", "2001:db8:18::1", "2001:db8:19::1"},
	} {
		l.Client.Route("", v.toPlain)
		x.router.Route("", v.back)
		x.plain.Route("", v.out)
	}
	setSysctls(x.router, "ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1")
	x.beyond.Background(selfPath, "exchange-serve", ":7000")
	x.plain.Background(selfPath, "exchange-serve", ":7000")

	l.OK("network", "create", "--ipv6", "--subnet=172.20.0.0/16", "--subnet=fd00:20::/64", "dual")
	runServer(l, "web", "exchange-serve", ":80", "--net=dual", "--net-alias=rr", "-p", "8080:80", "-p", "8080:80/udp")
	l.OK("run", "-d", "--name=beside", "--net=dual")
	x.web, x.beside = lab.NamespaceAt(t, sandboxOf(l, "web")), lab.NamespaceAt(t, sandboxOf(l, "beside"))
	return x
}

// namespaces are all that packets of an exchange come through.
func (x *integrityLab) namespaces() []*lab.Namespace {
	return []*lab.Namespace{x.beyond, x.Client, x.Host, x.router, x.plain, x.web, x.beside}
}

// way is one from a client to a server.
type way struct {
	name  string
	addr  string
	wired bool // it takes the wire to the host, or its twin
	run   func(program string, args ...string) lab.Result
}

func (x *integrityLab) ways() []way {
	f := x.family
	within := func(n *lab.Namespace) func(string, ...string) lab.Result {
		return func(program string, args ...string) lab.Result {
			return n.RunWithin(exchangeTimeout, selfPath, append([]string{program}, args...)...)
		}
	}
	exec := func(program string, args ...string) lab.Result {
		all := append([]string{"--root", x.Root, "exec", "beside", selfPath, program}, args...)
		return x.Host.RunWithin(exchangeTimeout, lab.Binary(x.T), all...)
	}
	return []way{
		{"without us", port(f.plain, "7000"), true, within(x.beyond)},
		{"published", port(f.host, "8080"), true, within(x.beyond)},
		{"masqueraded", port(f.beyond, "7000"), true, exec},
		{"alias", port(f.vip(x.Lab, "rr"), "80"), false, exec},
		{"alias, from the host", port(f.vip(x.Lab, "rr"), "80"), false, within(x.Host)},
		{"published, from beside", port(f.host, "8080"), false, exec},
		{"published, from the host", port(f.loopback, "8080"), false, within(x.Host)},
	}
}

// forgetMTUs lets all ends learn anew what their paths take.
func (x *integrityLab) forgetMTUs() {
	for _, n := range []*lab.Namespace{x.beyond, x.plain, x.web, x.beside} {
		n.Must(renewDefaultRoutes)
	}
}

// renewDefaultRoutes adds the default routes of the thread's namespace once more:
// what is known of paths goes with the old ones.
func renewDefaultRoutes() error {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, route := range routes {
		if route.Gw == nil {
			continue
		}
		if err := netlink.RouteDel(&route); err != nil {
			return err
		}
		if err := netlink.RouteAdd(&route); err != nil {
			return err
		}
	}
	return nil
}

// wire is what the devices on the way are like.
type wire struct {
	name string
	set  func(x *integrityLab)
	mtu  func(f exchangeFamily) int // of the path
	// Why we drop packets of whoever does not know the path's MTU yet.
	drops []string
}

var wires = []wire{
	{"offloaded", func(*integrityLab) {}, func(exchangeFamily) int { return 1500 }, nil},
	{"narrow", narrowWires, func(f exchangeFamily) int { return f.narrow }, []string{"mtu-exceeded", "fragment"}},
	{"not offloaded", withoutOffload, func(exchangeFamily) int { return 1500 }, nil},
}

// narrowWires lets both ends of a path learn of its MTU from whom they send to:
// the wire to the host, and its twin, take less than what is on either side.
func narrowWires(x *integrityLab) {
	setMTU(x.Host, "eth0", x.family.narrow)
	setMTU(x.Client, "eth0", x.family.narrow)
	setMTU(x.router, "eth0", x.family.narrow)
	setMTU(x.Client, "eth1", x.family.narrow)
}

// withoutOffload has every sender cut and sum its packets itself, and every
// receiver check them.
func withoutOffload(x *integrityLab) {
	off := func(n *lab.Namespace, devices ...string) {
		for _, device := range devices {
			for _, command := range []uint32{unix.ETHTOOL_STSO, unix.ETHTOOL_SGSO, unix.ETHTOOL_SGRO, unix.ETHTOOL_STXCSUM} {
				setOffload(n, device, command, false)
			}
		}
	}
	off(x.beyond, "eth0")
	off(x.Client, "wire", "eth0", "eth1")
	off(x.Host, "eth0")
	off(x.router, "eth0", "eth1")
	for _, n := range []*lab.Namespace{x.plain, x.web, x.beside} {
		off(n, "eth0")
	}
}
