package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/sluice-net/sluice/internal/datapath"
)

// Upgrade is what Open has made of the maps of another layout. One whose keys and
// values have not changed stays; the entries of others are carried over by the
// names of their fields, and where that cannot be done the map begins empty.
type Upgrade struct {
	From    []string         // the layouts: "v1"
	Carried map[string]int   // maps that are new, and how many entries they were given
	Lost    map[string]error // maps that begin empty, and why
}

// Upgraded returns nil when the maps had this layout already.
func (l *Loader) Upgraded() *Upgrade { return l.upgraded }

// flowMaps hold what depends on the entries of others.
var flowMaps = []string{"flows4", "flows6", "nursery4", "nursery6"}

// neededByFlows are the maps whose generations flows have noted.
var neededByFlows = []string{"endpoints", "rules"}

// beginUpgrade looks for pins of other layouts. When there are some, and none of
// this one, the maps are made in a place of their own until they are filled: a
// daemon that is killed meanwhile leaves nothing that the next one would believe.
func (l *Loader) beginUpgrade() (others []pins, err error) {
	entries, err := os.ReadDir(l.pins.root)
	if err != nil {
		return nil, fmt.Errorf("read the bpffs: %w", err)
	}
	if err := os.RemoveAll(l.pins.unfinished().layout()); err != nil {
		return nil, fmt.Errorf("remove an unfinished upgrade: %w", err)
	}
	begun := false
	for _, entry := range entries {
		switch name := entry.Name(); {
		case name == l.pins.version:
			begun = true
		case strings.HasPrefix(name, "v") && !strings.HasSuffix(name, "+"):
			others = append(others, pins{l.pins.root, name})
		}
	}
	if len(others) == 0 || begun {
		return others, nil
	}
	l.pins = l.pins.unfinished()
	return others, l.shareMaps(others)
}

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

// upgrade fills the maps, gives the links that are there the new programs, and
// removes the other layouts' pins. In between, programs of both layouts are at
// work for some milliseconds: what begins then is carried over in the end.
func (l *Loader) upgrade(others []pins) error {
	l.upgraded = &Upgrade{Carried: map[string]int{}, Lost: map[string]error{}}
	for _, from := range others {
		l.upgraded.From = append(l.upgraded.From, from.version)
		if err := l.carryMaps(from); err != nil {
			return err
		}
	}
	if err := l.finishPins(); err != nil {
		return err
	}
	for _, from := range others {
		if err := l.takeLinks(from); err != nil {
			return err
		}
	}
	for _, from := range others {
		if err := errors.Join(l.carryFlows(from), os.RemoveAll(from.layout())); err != nil {
			return err
		}
	}
	return nil
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
	old, err := ebpf.LoadPinnedMap(from.mapPin(name), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer old.Close()
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

// finishPins puts the filled maps where they belong.
func (l *Loader) finishPins() error {
	final := pinsOf(l.pins.root)
	if l.pins == final {
		return nil // an earlier daemon came as far
	}
	if err := os.Rename(l.pins.layout(), final.layout()); err != nil {
		return err
	}
	l.pins = final
	return nil
}

// takeLinks moves the pins of another layout's links, and the marks of our
// qdiscs, and gives the links the new programs.
func (l *Loader) takeLinks(from pins) error {
	if err := os.MkdirAll(l.pins.qdiscs(), 0o700); err != nil {
		return err
	}
	for of, to := range map[string]string{from.qdiscs(): l.pins.qdiscs(), from.links(): l.pins.links()} {
		if err := moveEntries(of, to); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(l.pins.links())
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := l.updateLink(entry.Name()); err != nil {
			return fmt.Errorf("replace the program of %s: %w", entry.Name(), err)
		}
	}
	return nil
}

func moveEntries(from, to string) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.Rename(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// updateLink gives a link its program of this layout. One whose target is gone is
// left to whoever attaches next.
func (l *Loader) updateLink(name string) error {
	pinned, err := link.LoadPinnedLink(filepath.Join(l.pins.links(), name), nil)
	if err != nil {
		return err
	}
	defer pinned.Close()
	info, err := pinned.Info()
	if err != nil {
		return err
	}
	program, err := l.programFor(name, info)
	if program == nil || err != nil {
		return err
	}
	return pinned.Update(program)
}

// programFor is the program of a link, nil when it needs none any more.
func (l *Loader) programFor(name string, info *link.Info) (*ebpf.Program, error) {
	hook, on, _ := strings.Cut(name, "@")
	if hook == datapath.HookSocket.String() {
		return l.programs[datapath.HookSocket][on], nil
	}
	tcx := info.TCX()
	if tcx == nil || tcx.Ifindex == 0 {
		return nil, nil
	}
	for _, h := range []datapath.Hook{datapath.HookContainer, datapath.HookBridge} {
		if hook == h.String() {
			return l.Program(h), nil
		}
	}
	return l.UplinkProgram(int(tcx.Ifindex))
}
