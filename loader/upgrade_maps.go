package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	stdmaps "maps"
	"os"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
)

// flowMaps hold what depends on the entries of others.
var flowMaps = []string{"flows4", "flows6", "nursery4", "nursery6"}

// tagsOf has the maps of the tenured tables' tags, by those of the entries.
var tagsOf = map[string]string{"flows4": "flow_tags4", "flows6": "flow_tags6"}

// tenuredMaps mean something together alone: a seed leads to tags, and tags to entries.
// When the programs hash or tag otherwise, a field of theirs needs another name.
var tenuredMaps = []string{"flow_seeds", "flow_tags4", "flow_tags6", "flows4", "flows6"}

// neededByFlows are the maps whose generations flows have noted.
var neededByFlows = []string{"endpoints", "rules"}

// shareMaps pins the maps that need no change at their places too.
func (l *Loader) shareMaps(others []pins) error {
	specs, err := pinnedSpecs()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.pins.maps(), 0o700); err != nil {
		return fmt.Errorf("make the pins' directory: %w", err)
	}
	for _, from := range others {
		same, err := from.unchanged(specs)
		if err != nil {
			return err
		}
		for name := range same {
			if err := os.Link(from.mapPin(name), l.pins.mapPin(name)); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	return nil
}

// unchanged returns the maps that are as the specs say, and their sizes: all of
// tenuredMaps or none.
func (p pins) unchanged(specs map[string]*ebpf.MapSpec) (map[string]uint32, error) {
	sizes := map[string]uint32{}
	for name, spec := range specs {
		size, err := unchanged(p.mapPin(name), spec)
		if err != nil {
			return nil, fmt.Errorf("map %s of %s: %w", name, p.version, err)
		}
		if size != 0 {
			sizes[name] = size
		}
	}
	fit := !slices.ContainsFunc(tenuredMaps, func(name string) bool { return sizes[name] == 0 })
	for entries, tags := range tagsOf {
		fit = fit && sizes[entries] == datapath.FlowWays*sizes[tags]
	}
	if !fit {
		stdmaps.DeleteFunc(sizes, func(name string, _ uint32) bool { return slices.Contains(tenuredMaps, name) })
	}
	return sizes, nil
}

// unchanged returns the size of the map at path, if there is one which is as the spec
// says, but for that; else 0.
func unchanged(path string, spec *ebpf.MapSpec) (size uint32, err error) {
	m, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer m.Close()
	as := spec.Copy()
	as.MaxEntries = m.MaxEntries()
	if as.Compatible(m) != nil {
		return 0, nil
	}
	key, value, err := typesOf(m)
	if err != nil || !sameFields(key, spec.Key) || !sameFields(value, spec.Value) {
		return 0, err
	}
	return m.MaxEntries(), nil
}

// carryMaps carries over everything, the flows last.
func (l *Loader) carryMaps(from pins) error {
	for name, m := range l.maps {
		if slices.Contains(flowMaps, name) || slices.Contains(tenuredMaps, name) || m.Type() == ebpf.RingBuf {
			continue
		}
		if err := l.carryMap(from, name); err != nil {
			return err
		}
	}
	return l.carryFlows(from)
}

// partCursors keeps programs of both layouts from giving one port to two flows while
// they are side by side, each with a table of its own: ours begin to look half of all
// ports from where the others' are.
func (l *Loader) partCursors(from pins) error {
	cursors, apart := l.maps["snat_cursors"], l.config.masqueradePorts()/2
	return from.withMap("snat_cursors", func(old *ebpf.Map) error {
		if shared, err := sameMap(old, cursors); shared || err != nil || l.upgraded.Lost["snat_cursors"] != nil {
			return err
		}
		for slot := range min(cursors.MaxEntries(), old.MaxEntries()) {
			at, err := old.LookupBytes(slot)
			if err != nil {
				return fmt.Errorf("read snat_cursors of %s: %w", from.version, err)
			}
			if err := cursors.Put(slot, binary.NativeEndian.Uint32(at)+apart); err != nil {
				return fmt.Errorf("write to snat_cursors: %w", err)
			}
		}
		return nil
	})
}

func (l *Loader) carryFlows(from pins) error {
	for _, name := range neededByFlows {
		if why := l.upgraded.Lost[name]; why != nil {
			return l.loseFlows(fmt.Errorf("%s: %w", name, why))
		}
	}
	for _, name := range flowMaps {
		if err := l.carryMap(from, name); err != nil {
			return err
		}
	}
	return nil
}

// loseFlows empties their tables, or an endpoint that gets the generation of
// another one would inherit its flows.
func (l *Loader) loseFlows(why error) error {
	for _, name := range flowMaps {
		l.upgraded.Lost[name] = why
		if err := l.emptyFlows(name); err != nil {
			return fmt.Errorf("empty %s: %w", name, err)
		}
	}
	return nil
}

func (l *Loader) emptyFlows(name string) error {
	if tagsOf[name] != "" {
		table := l.tenured(name)
		return table.Each(func(key, _ []byte) error {
			_, err := table.Erase(key)
			return err
		})
	}
	m := l.maps[name]
	return eachEntry(m, func(key, _ []byte) error {
		if err := m.Delete(key); !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		return nil
	})
}

// carryMap fills a map, if its entries can become those of this layout. One that
// is new here has none.
func (l *Loader) carryMap(from pins, name string) error {
	return from.withMap(name, func(old *ebpf.Map) error {
		if shared, err := sameMap(old, l.maps[name]); shared || err != nil {
			return err
		}
		if tagsOf[name] == "" {
			c, err := newCarrier(old, l.maps[name])
			return l.carryBy(c.carry, name, err)
		}
		tags, err := from.openMap(tagsOf[name])
		if err != nil {
			return err
		}
		defer tags.Close()
		c, err := l.newFlowCarrier(old, tags, name)
		return l.carryBy(c.carry, name, err)
	})
}

// carryBy carries a map over, unless why says that it cannot be.
func (l *Loader) carryBy(carry func() (int, error), name string, why error) error {
	if why != nil {
		l.upgraded.Lost[name] = why
		return nil
	}
	n, err := carry()
	l.upgraded.Carried[name] += n
	if err != nil {
		return fmt.Errorf("carry over %s: %w", name, err)
	}
	return nil
}

// withMap calls use with a pinned map, if there is one of that name.
func (p pins) withMap(name string, use func(*ebpf.Map) error) error {
	m, err := p.openMap(name)
	if m == nil || err != nil {
		return err
	}
	defer m.Close()
	return use(m)
}

// openMap returns a pinned map, nil if there is none of that name.
func (p pins) openMap(name string) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(p.mapPin(name), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return m, err
}

// sameMap reports whether two descriptors are of one map.
func sameMap(a, b *ebpf.Map) (bool, error) {
	of, err := a.Info()
	if err != nil {
		return false, err
	}
	is, err := b.Info()
	if err != nil {
		return false, err
	}
	first, _ := of.ID()
	second, _ := is.ID()
	return first == second, nil
}
