package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/cilium/ebpf"
)

// flowMaps hold what depends on the entries of others.
var flowMaps = []string{"flows4", "flows6", "nursery4", "nursery6"}

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
		for name, spec := range specs {
			same, err := unchanged(from.mapPin(name), spec)
			if err != nil {
				return fmt.Errorf("map %s of %s: %w", name, from.version, err)
			}
			if !same {
				continue
			}
			if err := os.Link(from.mapPin(name), l.pins.mapPin(name)); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	return nil
}

// unchanged reports whether there is a map at path which is as the spec says, but
// for its size.
func unchanged(path string, spec *ebpf.MapSpec) (bool, error) {
	m, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer m.Close()
	as := spec.Copy()
	as.MaxEntries = m.MaxEntries()
	if as.Compatible(m) != nil {
		return false, nil
	}
	key, value, err := typesOf(m)
	if err != nil {
		return false, err
	}
	return sameFields(key, spec.Key) && sameFields(value, spec.Value), nil
}

// carryMaps carries over everything, the flows last.
func (l *Loader) carryMaps(from pins) error {
	for name, m := range l.maps {
		if slices.Contains(flowMaps, name) || m.Type() == ebpf.RingBuf {
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
		m := l.maps[name]
		err := eachEntry(m, func(key, _ []byte) error {
			if err := m.Delete(key); !errors.Is(err, ebpf.ErrKeyNotExist) {
				return err
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("empty %s: %w", name, err)
		}
	}
	return nil
}

// carryMap fills a map, if its entries can become those of this layout. One that
// is new here has none.
func (l *Loader) carryMap(from pins, name string) error {
	return from.withMap(name, func(old *ebpf.Map) error {
		if shared, err := sameMap(old, l.maps[name]); shared || err != nil {
			return err
		}
		c, err := newCarrier(old, l.maps[name])
		if err != nil {
			l.upgraded.Lost[name] = err
			return nil
		}
		n, err := c.carry()
		l.upgraded.Carried[name] += n
		if err != nil {
			return fmt.Errorf("carry over %s: %w", name, err)
		}
		return nil
	})
}

// withMap calls use with a pinned map, if there is one of that name.
func (p pins) withMap(name string, use func(*ebpf.Map) error) error {
	m, err := ebpf.LoadPinnedMap(p.mapPin(name), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer m.Close()
	return use(m)
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
