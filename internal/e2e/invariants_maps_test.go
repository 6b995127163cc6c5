package e2e

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// openMap opens one of the instance's pinned maps.
func openMap(l *lab.Lab, name string) *ebpf.Map {
	l.Helper()
	m, err := ebpf.LoadPinnedMap(filepath.Join(loader.PinsDir(filepath.Join(l.Root, "bpf")), "maps", name), nil)
	if err != nil {
		l.Fatal(err)
	}
	return m
}

// openTenured opens the instance's table of IPv4 flows that have proved themselves.
func openTenured(l *lab.Lab) *maps.Tenured {
	l.Helper()
	dir := filepath.Join(loader.PinsDir(filepath.Join(l.Root, "bpf")), "maps")
	pins, err := os.ReadDir(dir)
	if err != nil {
		l.Fatal(err)
	}
	byName := map[string]*ebpf.Map{}
	for _, pin := range pins {
		m := openMap(l, pin.Name())
		l.Cleanup(func() { m.Close() })
		byName[pin.Name()] = m
	}
	program, err := loader.LoadFlowTable(loader.Config{}, byName)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { program.Close() })
	return maps.NewTenured(byName, 4, program)
}

// dump returns a map's entries, those of an array that are not zero.
func dump[K, V comparable](c *checker, name string) map[K]V {
	m := openMap(c.Lab, name)
	defer m.Close()
	found := map[K]V{}
	if m.Type() == ebpf.Array {
		var zero V
		keys, values := make([]K, m.MaxEntries()), make([]V, m.MaxEntries())
		var cursor ebpf.MapBatchCursor
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			c.complain("read %s: %w", name, err)
		}
		for i := range n {
			if values[i] != zero {
				found[keys[i]] = values[i]
			}
		}
		return found
	}
	var key K
	var value V
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		found[key] = value
	}
	if err := entries.Err(); err != nil {
		c.complain("read %s: %w", name, err)
	}
	return found
}

// raw4 is an address in network byte order in memory, as maps have it.
func raw4(addr netip.Addr) uint32 {
	b := addr.As4()
	return binary.NativeEndian.Uint32(b[:])
}

// raw6 is likewise an IPv6 address; :: of a zero one.
func raw6(addr netip.Addr) (raw datapath.Addr6) {
	if addr.IsValid() {
		raw.Bytes = addr.As16()
	}
	return raw
}

// mask6 is a prefix's netmask.
func mask6(p netip.Prefix) datapath.Addr6 {
	ones := netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	return raw6(netip.PrefixFrom(ones, p.Bits()).Masked().Addr())
}

// mapEntries checks that every entry follows from the intent, and that every
// intent has its entries. Generations are the kernel's own.
func (c *checker) mapEntries() {
	index := c.ifindexes()
	c.networkEntries(index)
	c.endpointEntries(index)
	c.aliasEntries()
	c.ruleEntries()
	c.hostEntries(index)
}

// ifindexes returns the host's devices by name.
func (c *checker) ifindexes() map[string]uint32 {
	found := map[string]uint32{}
	c.must(c.Host.Do(func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			found[l.Attrs().Name] = uint32(l.Attrs().Index)
		}
		return err
	}))
	return found
}

func (c *checker) networkEntries(ifindex map[string]uint32) {
	networks := map[uint32]datapath.Network{}
	subnets, subnets6 := map[datapath.SubnetKey4]uint32{}, map[datapath.SubnetKey6]uint32{}
	for _, in := range c.networks {
		n := in.value
		if n.Driver != engine.DriverBridge {
			continue
		}
		value := datapath.Network{
			Ifindex:  ifindex[n.Bridge],
			Rule:     n.Rule,
			Subnet4:  raw4(n.Subnet.Masked().Addr()),
			Gateway4: raw4(n.Gateway),
			Mac:      [6]byte(netdev.MACFor(n.Gateway)),
		}
		var mask [4]byte
		binary.BigEndian.PutUint32(mask[:], ^uint32(0)<<(32-n.Subnet.Bits()))
		value.Mask4 = binary.NativeEndian.Uint32(mask[:])
		if n.HasIPv6() {
			value.Subnet6, value.Mask6, value.Gateway6 = raw6(n.Subnet6.Addr()), mask6(n.Subnet6), raw6(n.Gateway6)
			subnets6[datapath.SubnetKey6{PrefixLen: uint32(n.Subnet6.Bits()), Addr: value.Subnet6}] = uint32(n.Index)
		}
		networks[uint32(n.Index)] = value
		subnets[datapath.SubnetKey4{PrefixLen: uint32(n.Subnet.Bits()), Addr: value.Subnet4}] = uint32(n.Index)
	}
	same(c, "map networks", dump[uint32, datapath.Network](c, "networks"), networks)
	same(c, "map subnets4", dump[datapath.SubnetKey4, uint32](c, "subnets4"), subnets)
	same(c, "map subnets6", dump[datapath.SubnetKey6, uint32](c, "subnets6"), subnets6)
}

func (c *checker) endpointEntries(ifindex map[string]uint32) {
	endpoints, devices := map[uint32]datapath.Endpoint{}, map[uint32]uint32{}
	addresses, addresses6 := map[uint32]uint32{}, map[datapath.Addr6]uint32{}
	for _, in := range c.endpoints {
		ep, n := in.value, c.networks[in.value.NetworkID].value
		value := datapath.Endpoint{
			Ifindex: ifindex[ep.HostDevice],
			Addr4:   raw4(ep.Address),
			Addr6:   raw6(ep.Address6),
			Mac:     [6]byte(netdev.MACFor(ep.Address)),
			Network: n.Index,
			Flags:   datapath.EndpointReady,
		}
		if len(ep.Ports) > 0 || n.AliasMode == engine.AliasVIP && len(ep.Aliases) > 0 {
			value.Flags |= datapath.EndpointTranslated
		}
		endpoints[ep.Index] = value
		devices[value.Ifindex] = ep.Index
		addresses[value.Addr4] = ep.Index
		if n.HasIPv6() {
			addresses6[value.Addr6] = ep.Index
		}
	}
	got := dump[uint32, datapath.Endpoint](c, "endpoints")
	for i, value := range got {
		value.Generation = 0
		if got[i] = value; value == (datapath.Endpoint{}) {
			delete(got, i)
		}
	}
	same(c, "map endpoints", got, endpoints)
	same(c, "map devices", dump[uint32, uint32](c, "devices"), devices)
	same(c, "map endpoints4", dump[uint32, uint32](c, "endpoints4"), addresses)
	same(c, "map endpoints6", dump[datapath.Addr6, uint32](c, "endpoints6"), addresses6)
}

func (c *checker) aliasEntries() {
	want, want6 := map[uint32]datapath.Vip{}, map[datapath.Addr6]datapath.Vip{}
	for _, a := range c.aliases {
		value := datapath.Vip{Alias: a.Index, Rule: a.Rule, Network: c.networks[a.NetworkID].value.Index}
		for _, member := range c.members(a) {
			value.Members[value.Count] = member
			value.Count++
		}
		want[raw4(a.Address)] = value
		if a.Address6.IsValid() {
			want6[raw6(a.Address6)] = value
		}
	}
	same(c, "map vips4", dump[uint32, datapath.Vip](c, "vips4"), want)
	same(c, "map vips6", dump[datapath.Addr6, datapath.Vip](c, "vips6"), want6)
}

// members returns the indexes of an alias's members, by address.
func (c *checker) members(a engine.Alias) []uint32 {
	byAddr := map[netip.Addr]uint32{}
	var addrs []netip.Addr
	for _, ep := range c.endpoints {
		if ep.value.NetworkID == a.NetworkID && slices.Contains(ep.value.Aliases, a.Name) {
			byAddr[ep.value.Address] = ep.value.Index
			addrs = append(addrs, ep.value.Address)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	var members []uint32
	for _, addr := range addrs {
		members = append(members, byAddr[addr])
	}
	return members
}

func (c *checker) ruleEntries() {
	rules := map[uint32]datapath.Rule{}
	rule := func(index uint32, r datapath.Rule) {
		if r.Family == 0 {
			r.Family = unix.AF_INET
		}
		rules[index] = r
	}
	for _, n := range c.networks {
		if n.value.Rule != 0 {
			rule(n.value.Rule, datapath.Rule{Kind: datapath.RuleMasquerade, Network: n.value.Index})
		}
	}
	for _, a := range c.aliases {
		rule(a.Rule, datapath.Rule{Kind: datapath.RuleAlias, Network: c.networks[a.NetworkID].value.Index})
	}
	for _, ep := range c.endpoints {
		for _, p := range ep.value.Ports {
			r := datapath.Rule{
				Kind: datapath.RulePublish, Protocol: p.Protocol, Endpoint: ep.value.Index, First: p.First, Last: p.Last, Target: p.Target,
			}
			if p.HostAddr.Is4() {
				r.Addr4 = raw4(p.HostAddr)
			} else {
				r.Family, r.Addr6 = unix.AF_INET6, raw6(p.HostAddr)
			}
			rule(p.Rule, r)
		}
	}
	got := dump[uint32, datapath.Rule](c, "rules")
	for i, value := range got {
		value.Generation, value.Next = 0, 0
		if got[i] = value; value == (datapath.Rule{}) {
			delete(got, i)
		}
	}
	same(c, "map rules", got, rules)
	c.portEntries("ports_tcp", unix.IPPROTO_TCP, rules)
	c.portEntries("ports_udp", unix.IPPROTO_UDP, rules)
}

// portEntries checks that each port leads to the chain of the rules that have
// it, and to no other.
func (c *checker) portEntries(name string, protocol uint8, rules map[uint32]datapath.Rule) {
	next := map[uint32]uint32{}
	for index, r := range dump[uint32, datapath.Rule](c, "rules") {
		next[index] = r.Next
	}
	got := dump[uint32, uint32](c, name)
	want := map[uint32]bool{}
	for index, r := range rules {
		if r.Kind != datapath.RulePublish || r.Protocol != protocol {
			continue
		}
		for port := uint32(r.First); port <= uint32(r.Last); port++ {
			want[port] = true
			at := got[port]
			for range datapath.MaxRuleChain {
				if at == 0 || at == index {
					break
				}
				at = next[at]
			}
			if at != index {
				c.complain("map %s: port %d does not lead to rule %d", name, port, index)
			}
		}
	}
	for port, index := range got {
		if !want[port] {
			c.complain("map %s: port %d leads to rule %d, and nobody publishes it", name, port, index)
		}
	}
}

func (c *checker) hostEntries(ifindex map[string]uint32) {
	want, want6 := map[uint32]datapath.HostAddr{}, map[datapath.Addr6]datapath.HostAddr{}
	for _, addr := range c.hostAddrs() {
		if addr.Is4() {
			want[raw4(addr)] = datapath.HostAddr{}
		} else {
			want6[raw6(addr)] = datapath.HostAddr{}
		}
	}
	for _, n := range c.networks {
		if n.value.Driver == engine.DriverBridge {
			want[raw4(n.value.Gateway)] = datapath.HostAddr{Network: n.value.Index}
		}
		if n.value.HasIPv6() {
			want6[raw6(n.value.Gateway6)] = datapath.HostAddr{Network: n.value.Index}
		}
	}
	same(c, "map host_addrs4", dump[uint32, datapath.HostAddr](c, "host_addrs4"), want)
	same(c, "map host_addrs6", dump[datapath.Addr6, datapath.HostAddr](c, "host_addrs6"), want6)
	devices := map[uint32]bool{}
	for device := range dump[uint32, datapath.Uplink](c, "uplinks") {
		devices[device] = true
	}
	uplinks := map[uint32]bool{}
	for _, name := range systemInfo(c.Lab).Uplinks {
		uplinks[ifindex[name]] = true
	}
	same(c, "map uplinks", devices, uplinks)
}

// hostAddrs are those of the host's devices, but for the loopback's and those that
// duplicate address detection has not passed.
func (c *checker) hostAddrs() (addrs []netip.Addr) {
	c.must(c.Host.Do(func() error {
		found, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
		for _, a := range found {
			addr, ok := netip.AddrFromSlice(a.IP)
			if ok && !addr.IsLoopback() && a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0 {
				addrs = append(addrs, addr.Unmap())
			}
		}
		return err
	}))
	return addrs
}
