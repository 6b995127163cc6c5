package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/internal/netdev"
)

// devices checks what the host's namespace has, which the caller is in.
func (c *checker) devices() {
	want := map[string]bool{netdev.LendingDevice: true}
	c.sysctl("ipv4", netdev.LendingDevice, "forwarding", "1")
	c.sysctl("ipv6", netdev.LendingDevice, "forwarding", "1")
	for _, n := range c.networks {
		if n.value.Driver == engine.DriverBridge {
			want[n.value.Bridge] = true
			c.bridge(n.value)
		}
	}
	for _, ep := range c.endpoints {
		want[ep.value.HostDevice] = true
		c.veth(ep.value)
	}
	links, err := netlink.LinkList()
	c.must(err)
	marked := map[string]bool{}
	for _, l := range links {
		if l.Attrs().Alias == deviceMark(c.Lab) {
			marked[l.Attrs().Name] = true
		}
	}
	same(c, "devices", marked, want)
	c.neighbours()
}

// deviceMark is the alias of every device of the instance.
func deviceMark(l *lab.Lab) string { return "sluice " + l.Root }

// up returns a device that must be there and up.
func (c *checker) up(name string) netlink.Link {
	l, err := netlink.LinkByName(name)
	if err != nil {
		c.complain("device %s: %w", name, err)
		return nil
	}
	if l.Attrs().RawFlags&unix.IFF_UP == 0 {
		c.complain("device %s is down", name)
	}
	return l
}

func (c *checker) bridge(n engine.Network) {
	l := c.up(n.Bridge)
	if l == nil {
		return
	}
	if mac := netdev.MACFor(n.Gateway); l.Attrs().HardwareAddr.String() != mac.String() {
		c.complain("%s has the address %s, and should have %s", n.Bridge, l.Attrs().HardwareAddr, mac)
	}
	c.ownAddresses(n.Bridge, l, n, n.Gateway, n.Gateway6)
	c.sysctl("ipv4", n.Bridge, "forwarding", "0")
	c.sysctl("ipv4", n.Bridge, "route_localnet", "1")
	c.sysctl("ipv6", n.Bridge, "forwarding", "0")
	c.ipv6(n.Bridge, n.HasIPv6())
}

// ipv6 checks the settings of a device, the calling thread's, that has IPv6 or not.
func (c *checker) ipv6(device string, enabled bool) {
	if !enabled {
		c.sysctl("ipv6", device, "disable_ipv6", "1")
		return
	}
	c.sysctl("ipv6", device, "disable_ipv6", "0")
	c.sysctl("ipv6", device, "accept_ra", "0")
}

func (c *checker) veth(ep engine.Endpoint) {
	l, n := c.up(ep.HostDevice), c.networks[ep.NetworkID].value
	if l == nil {
		return
	}
	if bridge := c.up(n.Bridge); bridge != nil && l.Attrs().MasterIndex != bridge.Attrs().Index {
		c.complain("%s is no port of %s", ep.HostDevice, n.Bridge)
	}
	c.sysctl("ipv4", ep.HostDevice, "forwarding", "0")
	c.sysctl("ipv6", ep.HostDevice, "disable_ipv6", "1")
	if ports, err := os.ReadFile(filepath.Join("/sys/class/net", ep.HostDevice, "brport/learning")); err == nil && strings.TrimSpace(string(ports)) != "0" {
		c.complain("the bridge learns from %s", ep.HostDevice)
	}
	c.must(netdev.InNamespace(ep.Sandbox, func() error {
		inner := c.up(ep.Device)
		if inner != nil {
			c.ownAddresses(ep.Owner+"'s "+ep.Device, inner, n, ep.Address, ep.Address6)
			c.ipv6(ep.Device, n.HasIPv6())
		}
		return nil
	}))
}

// ownAddresses checks those of a device of a network, but for link-local ones.
func (c *checker) ownAddresses(what string, l netlink.Link, n engine.Network, addr, addr6 netip.Addr) {
	found, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	c.must(err)
	got, want := map[string]bool{}, map[string]bool{netip.PrefixFrom(addr, n.Subnet.Bits()).String(): true}
	for _, a := range found {
		if !a.IP.IsLinkLocalUnicast() {
			got[a.IPNet.String()] = true
		}
	}
	if n.HasIPv6() {
		want[netip.PrefixFrom(addr6, n.Subnet6.Bits()).String()] = true
	}
	same(c, "addresses of "+what, got, want)
}

func (c *checker) sysctl(family, device, name, want string) {
	path := filepath.Join("/proc/sys/net", family, "conf", device, name)
	if got, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(got)) != want {
		c.complain("%s is %s, and should be %s", path, strings.TrimSpace(string(got)), want)
	}
}

// neighbours checks the permanent ones of our bridges.
func (c *checker) neighbours() {
	got, want := map[string]bool{}, map[string]bool{}
	for _, n := range c.networks {
		if l, err := netlink.LinkByName(n.value.Bridge); err == nil {
			found, err := netlink.NeighList(l.Attrs().Index, netlink.FAMILY_ALL)
			c.must(err)
			for _, neigh := range found {
				if neigh.State == netlink.NUD_PERMANENT {
					got[neigh.IP.String()] = true
				}
			}
		}
	}
	for _, ep := range c.endpoints {
		for _, addr := range ep.value.Addresses() {
			want[addr.String()] = true
		}
	}
	for _, a := range c.aliases {
		for _, addr := range a.Addresses() {
			want[addr.String()] = true
		}
	}
	same(c, "neighbours", got, want)
}
