package maps

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
)

// InUse tells what the intent accounts for.
type InUse struct {
	// By index, which is never 0.
	Networks, Endpoints, Rules map[uint32]bool
	// By address, of both families.
	Aliases map[netip.Addr]bool
}

// Sweep takes away every entry that nothing in use accounts for: what a crash
// or another tool left. What is in use must have been written before.
func (m *Maps) Sweep(use InUse) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, sweep := range []func(InUse) error{
		m.sweepNetworks, m.sweepEndpoints, m.sweepAliases, m.sweepRules, m.sweepPorts,
	} {
		if err := sweep(use); err != nil {
			return err
		}
	}
	return nil
}

// each calls fn for every entry of a map, those of an array that are zero left
// out. fn may change the map.
func each[K, V comparable](m *Maps, name string, fn func(K, V) error) error {
	table := m.byName[name]
	if table.Type() == ebpf.Array {
		return eachOfArray(m, name, fn)
	}
	var key K
	var value V
	found := map[K]V{}
	entries := table.Iterate()
	for entries.Next(&key, &value) {
		found[key] = value
	}
	if err := entries.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	for key, value := range found {
		if err := fn(key, value); err != nil {
			return err
		}
	}
	return nil
}

// eachOfArray reads an array in a few system calls.
func eachOfArray[K, V comparable](m *Maps, name string, fn func(K, V) error) error {
	table := m.byName[name]
	keys, values := make([]K, batchSize(table)), make([]V, batchSize(table))
	var zero V
	var visit error
	err := eachBatch(table, keys, values, func(n int) {
		for i := range n {
			if visit == nil && values[i] != zero {
				visit = fn(keys[i], values[i])
			}
		}
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return visit
}

func (m *Maps) sweepNetworks(use InUse) error {
	subnets4, subnets6 := map[datapath.SubnetKey4]uint32{}, map[datapath.SubnetKey6]uint32{}
	err := each(m, "networks", func(index uint32, n datapath.Network) error {
		if !use.Networks[index] {
			return m.put("networks", index, datapath.Network{})
		}
		subnets4[subnetKey4(n)] = index
		if has6(n) {
			subnets6[subnetKey6(n)] = index
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := keepOwned(m, "subnets4", subnets4); err != nil {
		return err
	}
	return keepOwned(m, "subnets6", subnets6)
}

// keepOwned deletes what leads to another index than owners say, which is never 0.
func keepOwned[K comparable](m *Maps, name string, owners map[K]uint32) error {
	return each(m, name, func(key K, index uint32) error {
		if owners[key] == index && index != 0 {
			return nil
		}
		return m.delete(name, key)
	})
}

func (m *Maps) sweepEndpoints(use InUse) error {
	devices, addrs4, addrs6 := map[uint32]uint32{}, map[uint32]uint32{}, map[datapath.Addr6]uint32{}
	err := each(m, "endpoints", func(index uint32, e datapath.Endpoint) error {
		gone := datapath.Endpoint{Generation: e.Generation}
		switch {
		case use.Endpoints[index]:
			devices[e.Ifindex], addrs4[e.Addr4] = index, index
			if e.Addr6 != (datapath.Addr6{}) {
				addrs6[e.Addr6] = index
			}
		case e != gone:
			gone.Generation++
			return m.put("endpoints", index, gone)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := keepOwned(m, "devices", devices); err != nil {
		return err
	}
	if err := keepOwned(m, "endpoints4", addrs4); err != nil {
		return err
	}
	return keepOwned(m, "endpoints6", addrs6)
}

func (m *Maps) sweepAliases(use InUse) error {
	err := each(m, "vips4", func(raw uint32, _ datapath.Vip) error {
		if use.Aliases[addr4(raw)] {
			return nil
		}
		return m.delete("vips4", raw)
	})
	if err != nil {
		return err
	}
	return each(m, "vips6", func(raw datapath.Addr6, _ datapath.Vip) error {
		if use.Aliases[addr6(raw)] {
			return nil
		}
		return m.delete("vips6", raw)
	})
}

func (m *Maps) sweepRules(use InUse) error {
	var known []uint32
	err := each(m, "rules", func(index uint32, r datapath.Rule) error {
		gone := datapath.Rule{Generation: r.Generation}
		if use.Rules[index] || r == gone {
			return nil
		}
		if _, ok := m.rules.all[index]; ok {
			known = append(known, index)
			return nil
		}
		m.rules.generations[index] = max(m.rules.generations[index], r.Generation) + 1
		gone.Generation = m.rules.generations[index]
		return m.put("rules", index, gone)
	})
	if err != nil {
		return err
	}
	return m.clearRules(known)
}

// sweepPorts frees the ports that no rule has.
func (m *Maps) sweepPorts(InUse) error {
	for _, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		heads := make([]uint32, 1<<16)
		var cursor ebpf.MapBatchCursor
		_, err := m.byName[portsMap(protocol)].BatchLookup(&cursor, make([]uint32, len(heads)), heads, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read %s: %w", portsMap(protocol), err)
		}
		for _, r := range m.rules.all {
			if r.Kind == RulePublish && r.Protocol == protocol {
				clear(heads[r.First : int(r.Last)+1])
			}
		}
		var stray []uint32
		for port, head := range heads {
			if head != 0 {
				stray = append(stray, uint32(port))
			}
		}
		if err := putAll(m, portsMap(protocol), stray, make([]uint32, len(stray))); err != nil {
			return err
		}
	}
	return nil
}
