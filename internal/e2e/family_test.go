package e2e

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/lab"
)

// family is an address family, with what the lab and its networks have of it:
// what holds for one has to hold for the other.
type family struct {
	name      string
	daemon    []string // flags by which the default network has it
	loopback  string
	host      string // the lab's host, and who is beyond its uplink
	client    string
	far       string
	second    string // an address that the host may get on the same wire
	prefix    string // of that wire, as "/24"
	vpn       string // the host's address on another wire, the client's, and the host's second one; of prefix too
	vpnPeer   string
	vpnSecond string
	inside    string // where all networks are in
	gateway   string // of the default network
	subnet    string // of a network that a test makes, and its gateway
	other     string
	first     string // the first container's address in each
	inOther   string
}

var families = []family{{
	name:      "IPv4",
	loopback:  "127.0.0.1",
	host:      lab.HostAddr,
	client:    lab.ClientAddr,
	far:       lab.FarAddr,
	second:    "192.0.2.11",
	prefix:    "/24",
	vpn:       "203.0.113.1",
	vpnPeer:   "203.0.113.2",
	vpnSecond: "203.0.113.9",
	inside:    "172.16.0.0/12",
	gateway:   "172.17.0.1",
	first:     "172.17.0.2",
	subnet:    "172.20.0.0/16",
	other:     "172.20.0.1",
	inOther:   "172.20.0.2",
}, {
	name:      "IPv6",
	daemon:    []string{"--ipv6", "--fixed-cidr-v6=fd00:17::/64"},
	loopback:  "::1",
	host:      lab.HostAddr6,
	client:    lab.ClientAddr6,
	far:       lab.FarAddr6,
	second:    "2001:db8:2::11",
	prefix:    "/64",
	vpn:       "2001:db8:113::1",
	vpnPeer:   "2001:db8:113::2",
	vpnSecond: "2001:db8:113::9",
	inside:    "fd00::/16",
	gateway:   "fd00:17::1",
	first:     "fd00:17::2",
	subnet:    "fd00:20::/64",
	other:     "fd00:20::1",
	inOther:   "fd00:20::2",
}}

// eachFamily runs a scenario once for each family, side by side.
func eachFamily(t *testing.T, scenario func(t *testing.T, f family)) {
	t.Parallel()
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			scenario(t, f)
		})
	}
}

// lab is a lab whose default network has the family.
func (f family) lab(t *testing.T, daemonArgs ...string) *lab.Lab {
	t.Helper()
	return lab.New(t, slices.Concat(f.daemon, daemonArgs)...)
}

// network makes a network that has the family.
func (f family) network(l *lab.Lab, name string, flags ...string) {
	l.Helper()
	args := append([]string{"network", "create", "--subnet=" + f.subnet}, flags...)
	if f.is6() {
		args = append(args, "--ipv6")
	}
	l.OK(append(args, name)...)
}

func (f family) is6() bool { return f.name == "IPv6" }

// flag is that of ip(8).
func (f family) flag() string { return "-" + f.name[len("IPv"):] }

// kind is Go's name for sockets of the family: "tcp4".
func (f family) kind(network string) string { return network + f.name[len("IPv"):] }

// addressOf is the address of the family that a container has in a network.
func (f family) addressOf(l *lab.Lab, name, network string) string {
	l.Helper()
	if f.is6() {
		return addressOf6(l, name, network)
	}
	return addressOf(l, name, network)
}

// vip is the address of the family behind which an alias's members take turns.
func (f family) vip(l *lab.Lab, alias string) string {
	l.Helper()
	for _, text := range strings.Split(natRule(l, "alias", alias).Destination, ",") {
		if addr := netip.MustParsePrefix(text).Addr(); addr.Is6() == f.is6() {
			return addr.String()
		}
	}
	l.Fatalf("the alias %s has no address of %s", alias, f.name)
	return ""
}

// runOnSecond is runServer for one that is published on the host's second address,
// which the host has just got.
func (f family) runOnSecond(l *lab.Lab, name, program, addr string, flags ...string) {
	l.Helper()
	l.Host.Eventually("a port can be published on the second address", func() error {
		args := append([]string{"run", "-d", "--name=" + name}, flags...)
		if r := l.Sluice(append(args, "--", selfPath, program, addr)...); r.Code != 0 {
			return errors.New(r.Stderr)
		}
		return nil
	})
}

// whole is an address as a prefix that has no other.
func whole(addr string) string {
	a := netip.MustParseAddr(addr)
	return netip.PrefixFrom(a, a.BitLen()).String()
}

// port joins an address and a port, given as text.
func port(addr, number string) string { return net.JoinHostPort(addr, number) }
