package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/loader"
)

// damage is what another tool may do to an instance.
type damage struct {
	name string
	do   func(l *lab.Lab) error
	// kills says that established connections end with it.
	kills bool
	// seen says that the kernel tells of it, so that a daemon that runs repairs it
	// at once.
	seen bool
}

// damages are single faults, against the host of newDamagedHost.
func damages() []damage { return slices.Concat(kindsOfDamage()...) }

// kindsOfDamage are the damages by what they are done to. One of each kind at
// once is possible in this order: what goes last takes others' objects away.
func kindsOfDamage() [][]damage {
	return [][]damage{mapDamages(), programDamages(), sysctlDamages(), ipv6Damages(), deviceDamages()}
}

func mapDamages() []damage {
	var emptied, overwritten []damage
	for _, name := range controlMaps {
		emptied = append(emptied, damage{name: "map " + name + " emptied", do: func(l *lab.Lab) error { return emptyMap(l, name) }})
		overwritten = append(overwritten, damage{name: "map " + name + " overwritten", do: func(l *lab.Lab) error { return overwriteMap(l, name) }, kills: true})
	}
	return slices.Concat(emptied, overwritten)
}

// controlMaps are those that the control plane writes.
var controlMaps = []string{
	"devices", "endpoints", "endpoints4", "networks", "subnets4", "rules", "ports_tcp", "ports_udp",
	"host_addrs4", "uplinks", "vips4",
	"endpoints6", "subnets6", "host_addrs6", "vips6",
}

func deviceDamages() []damage {
	onHost := func(fn func(l *lab.Lab, veth netlink.Link, bridge netlink.Link) error) func(*lab.Lab) error {
		return func(l *lab.Lab) error {
			veth := vethOf(l, "net00")
			return l.Host.Do(func() error {
				outer, err := netlink.LinkByName(veth)
				if err != nil {
					return err
				}
				bridge, err := netlink.LinkByName("sluice0")
				if err != nil {
					return err
				}
				return fn(l, outer, bridge)
			})
		}
	}
	inside := func(fn func(eth0 netlink.Link) error) func(*lab.Lab) error {
		return func(l *lab.Lab) error {
			return netdev.InNamespace(sandboxOf(l, "net00"), func() error {
				eth0, err := netlink.LinkByName("eth0")
				if err != nil {
					return err
				}
				return fn(eth0)
			})
		}
	}
	return []damage{
		{name: "veth deleted", seen: true, do: onHost(func(_ *lab.Lab, veth, _ netlink.Link) error { return netlink.LinkDel(veth) })},
		{name: "veth's master removed", seen: true, do: onHost(func(_ *lab.Lab, veth, _ netlink.Link) error { return netlink.LinkSetNoMaster(veth) })},
		{name: "veth set down", seen: true, do: onHost(func(_ *lab.Lab, veth, _ netlink.Link) error { return netlink.LinkSetDown(veth) })},
		{name: "bridge deleted", seen: true, do: onHost(func(_ *lab.Lab, _, bridge netlink.Link) error { return netlink.LinkDel(bridge) })},
		{name: "bridge set down", seen: true, do: onHost(func(_ *lab.Lab, _, bridge netlink.Link) error { return netlink.LinkSetDown(bridge) })},
		{name: "bridge's address removed", seen: true, do: onHost(func(_ *lab.Lab, _, bridge netlink.Link) error { return dropAddresses(bridge) })},
		{name: "neighbours removed", do: onHost(func(_ *lab.Lab, _, bridge netlink.Link) error {
			found, err := netlink.NeighList(bridge.Attrs().Index, netlink.FAMILY_V4)
			for _, n := range found {
				err = errors.Join(err, netlink.NeighDel(&n))
			}
			return err
		})},
		{name: "lending device deleted", seen: true, do: onHost(func(*lab.Lab, netlink.Link, netlink.Link) error {
			lending, err := netlink.LinkByName(netdev.LendingDevice)
			if err != nil {
				return err
			}
			return netlink.LinkDel(lending)
		})},
		{name: "container's address removed", do: inside(dropAddresses)},
		{name: "container's device set down", do: inside(netlink.LinkSetDown)},
		{name: "a stray device with our mark", do: onHost(func(l *lab.Lab, _, _ netlink.Link) error {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = "br-stray"
			stray := &netlink.Bridge{LinkAttrs: attrs}
			return errors.Join(netlink.LinkAdd(stray), netlink.LinkSetAlias(stray, deviceMark(l)))
		})},
	}
}

func dropAddresses(device netlink.Link) error {
	addrs, err := netlink.AddrList(device, netlink.FAMILY_V4)
	for _, a := range addrs {
		err = errors.Join(err, netlink.AddrDel(device, &a))
	}
	return err
}

// vethOf is the host side of a container's veth.
func vethOf(l *lab.Lab, name string) string {
	l.Helper()
	in, err := readIntent(l)
	if err != nil {
		l.Fatal(err)
	}
	for _, ep := range in.endpoints {
		if ep.value.Owner == name {
			return ep.value.HostDevice
		}
	}
	l.Fatalf("%s has no endpoint", name)
	return ""
}

// bridgeOf is the bridge device of a network.
func bridgeOf(l *lab.Lab, network string) string {
	l.Helper()
	in, err := readIntent(l)
	if err != nil {
		l.Fatal(err)
	}
	for _, n := range in.networks {
		if n.value.Name == network {
			return n.value.Bridge
		}
	}
	l.Fatalf("there is no network %s", network)
	return ""
}

// ipv6Damages are done to the IPv6 of custombridge and of net01 in it.
func ipv6Damages() []damage {
	dropGlobal := func(name string) error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
		for _, a := range addrs {
			if !a.IP.IsLinkLocalUnicast() {
				err = errors.Join(err, netlink.AddrDel(link, &a))
			}
		}
		return err
	}
	return []damage{
		{name: "bridge's IPv6 address removed", seen: true, do: func(l *lab.Lab) error {
			bridge := bridgeOf(l, "custombridge")
			return l.Host.Do(func() error { return dropGlobal(bridge) })
		}},
		{name: "bridge's IPv6 neighbours removed", do: func(l *lab.Lab) error {
			bridge := bridgeOf(l, "custombridge")
			return l.Host.Do(func() error {
				link, err := netlink.LinkByName(bridge)
				if err != nil {
					return err
				}
				found, err := netlink.NeighList(link.Attrs().Index, netlink.FAMILY_V6)
				for _, n := range found {
					if n.State == netlink.NUD_PERMANENT {
						err = errors.Join(err, netlink.NeighDel(&n))
					}
				}
				return err
			})
		}},
		{name: "container's IPv6 address removed", do: func(l *lab.Lab) error {
			return netdev.InNamespace(sandboxOf(l, "net01"), func() error { return dropGlobal("eth0") })
		}},
		{name: "container's IPv6 switched off", do: func(l *lab.Lab) error {
			return netdev.InNamespace(sandboxOf(l, "net01"), func() error {
				return os.WriteFile("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", []byte("1"), 0)
			})
		}},
	}
}

func sandboxOf(l *lab.Lab, name string) string {
	l.Helper()
	in, err := readIntent(l)
	if err != nil {
		l.Fatal(err)
	}
	for id, r := range in.containers {
		if r.Name == name {
			return filepath.Join(l.Root, "run", "netns", id)
		}
	}
	l.Fatalf("there is no container %s", name)
	return ""
}

func sysctlDamages() []damage {
	write := func(seen bool, path, value string) damage {
		return damage{name: path + " is " + value, seen: seen, do: func(l *lab.Lab) error {
			device := strings.NewReplacer("VETH", vethOf(l, "net00"), "BRIDGE", bridgeOf(l, "custombridge")).Replace(path)
			return l.Host.Do(func() error { return os.WriteFile("/proc/sys/net/"+device, []byte(value), 0) })
		}}
	}
	return []damage{
		write(true, "ipv4/ip_forward", "1"),
		write(true, "ipv4/ip_forward", "0"), // was 1
		write(true, "ipv4/conf/sluice0/forwarding", "1"),
		write(true, "ipv4/conf/VETH/forwarding", "1"),
		write(true, "ipv4/conf/sluice-fib/forwarding", "0"),
		write(false, "ipv4/conf/sluice0/route_localnet", "0"),
		write(false, "ipv6/conf/sluice0/disable_ipv6", "0"),
		write(false, "ipv6/conf/VETH/disable_ipv6", "0"),
		write(false, "ipv4/conf/all/rp_filter", "1"),
		write(true, "ipv6/conf/all/forwarding", "1"),
		write(true, "ipv6/conf/all/forwarding", "0"), // was 1
		write(true, "ipv6/conf/sluice-fib/forwarding", "0"),
		write(true, "ipv6/conf/BRIDGE/forwarding", "1"),
		write(false, "ipv6/conf/BRIDGE/accept_ra", "2"),
		write(true, "ipv6/conf/BRIDGE/disable_ipv6", "1"), // and its addresses are gone
	}
}

func programDamages() []damage {
	each := func(hook string, fn func(path string, l link.Link) error) func(*lab.Lab) error {
		return func(l *lab.Lab) error {
			paths, err := filepath.Glob(filepath.Join(loader.PinsDir(filepath.Join(l.Root, "bpf")), "links", hook+"@*"))
			if err == nil && len(paths) == 0 {
				err = fmt.Errorf("no program is attached at the hook %s", hook)
			}
			for _, path := range paths {
				pinned, loadErr := link.LoadPinnedLink(path, nil)
				if loadErr != nil {
					return loadErr
				}
				err = errors.Join(err, fn(path, pinned), pinned.Close())
			}
			return err
		}
	}
	var all []damage
	for _, hook := range []string{"container", "bridge", "uplink", "socket"} {
		all = append(all,
			damage{name: hook + " programs' pins removed", do: each(hook, func(path string, _ link.Link) error { return os.Remove(path) })},
			damage{name: hook + " programs detached", do: each(hook, func(_ string, l link.Link) error { return l.Detach() })})
	}
	return append(all, damage{name: "a stray pin", do: func(l *lab.Lab) error {
		old, err := filepath.Glob(filepath.Join(loader.PinsDir(filepath.Join(l.Root, "bpf")), "links", "container@*"))
		if err != nil {
			return err
		}
		pinned, err := link.LoadPinnedLink(old[0], nil)
		if err != nil {
			return err
		}
		defer pinned.Close()
		return os.Rename(old[0], filepath.Join(filepath.Dir(old[0]), "container@vethgone"))
	}})
}

// emptyMap zeroes the entries of an array, and deletes those of a hash.
func emptyMap(l *lab.Lab, name string) error {
	return changeMap(l, name, func(m *ebpf.Map, key, value []byte) error {
		if m.Type() != ebpf.Array {
			return m.Delete(key)
		}
		return m.Put(key, make([]byte, len(value)))
	})
}

// overwriteMap turns every bit of what there is, and adds an entry.
func overwriteMap(l *lab.Lab, name string) error {
	return changeMap(l, name, func(m *ebpf.Map, key, value []byte) error {
		for i := range value {
			value[i] = ^value[i]
		}
		if err := m.Put(key, value); err != nil {
			return err
		}
		key[0] ^= 0x18 // another one
		return m.Put(key, value)
	})
}

// changeMap calls fn for each entry; for those that are not zero, of an array.
func changeMap(l *lab.Lab, name string, fn func(m *ebpf.Map, key, value []byte) error) error {
	m := openMap(l, name)
	defer m.Close()
	var key, value []byte
	var keys, values [][]byte
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		if m.Type() != ebpf.Array || slices.ContainsFunc(value, func(b byte) bool { return b != 0 }) {
			keys, values = append(keys, slices.Clone(key)), append(values, slices.Clone(value))
		}
	}
	err := entries.Err()
	if err == nil && len(keys) == 0 {
		err = fmt.Errorf("the map %s has no entry", name)
	}
	for i := range keys {
		err = errors.Join(err, fn(m, keys[i], values[i]))
	}
	return err
}
