// Package loader brings the datapath into the kernel: it creates and pins the
// maps, loads the programs, attaches them to devices and cgroups, adopts what
// an earlier process left and takes everything away. It leaves entries
// to package maps, but for those that it carries over from another layout.
package loader

import (
	"errors"
	"fmt"
	stdmaps "maps"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

// ErrLayout is returned by Open when a pinned map is not what its layout says.
var ErrLayout = errors.New("the pinned maps have another layout")

// Loader holds the maps and programs of one instance.
type Loader struct {
	pins      pins
	config    Config
	mode      AttachMode
	maps      map[string]*ebpf.Map
	programs  map[datapath.Hook]*programs
	types     *btf.Cache // for as long as there are programs to be loaded
	timeouts  datapath.Timeouts
	keptSizes []KeptSize
	madeMaps  bool
	flowTable *ebpf.Program
	tunnel    tunnel
	upgraded  *Upgrade
}

// Open creates the maps that are missing below the bpffs at root, adopts those
// that are there, and loads the programs. It attaches nothing, and an earlier
// process's links go on with their programs until they are attached again; but
// those of another layout, with their maps, are replaced at once.
func Open(root string, config Config) (*Loader, error) {
	l := &Loader{pins: pinsOf(root), config: config}
	if err := checkKernel(); err != nil {
		return nil, err
	}
	mode, err := chooseMode(config.Attach)
	if err != nil {
		return nil, err
	}
	l.mode = mode
	others, err := l.beginUpgrade()
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{l.pins.maps(), l.pins.links(), l.pins.qdiscs()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the pins' directory: %w", err)
		}
	}
	if err := l.openMaps(); err != nil {
		l.Close()
		return nil, err
	}
	if err := l.loadPrograms(); err != nil {
		l.Close()
		return nil, err
	}
	if len(others) > 0 {
		if err := l.upgrade(others); err != nil {
			l.Close()
			return nil, fmt.Errorf("carry over what programs of another version have: %w", err)
		}
	}
	return l, nil
}

// pinnedSpecs are the layout's maps.
func pinnedSpecs() (map[string]*ebpf.MapSpec, error) {
	layout, err := datapath.LoadLayout()
	if err != nil {
		return nil, fmt.Errorf("read the compiled layout: %w", err)
	}
	stdmaps.DeleteFunc(layout.Maps, func(name string, _ *ebpf.MapSpec) bool {
		return strings.HasPrefix(name, ".") // .bss and the like belong to objects
	})
	return layout.Maps, nil
}

func (l *Loader) openMaps() error {
	specs, err := pinnedSpecs()
	if err != nil {
		return err
	}
	sizes, err := l.config.conntrackSizes()
	if err != nil {
		return err
	}
	l.maps, l.madeMaps = map[string]*ebpf.Map{}, true
	// In order: tags come before their entries, of which there are as many as tags say.
	for _, name := range slices.Sorted(stdmaps.Keys(specs)) {
		entries := sizes[name].entries
		if tags := l.maps[tagsOf[name]]; tags != nil {
			entries = datapath.FlowWays * tags.MaxEntries()
		}
		m, err := l.openMap(name, specs[name], entries)
		if err != nil {
			return fmt.Errorf("map %s: %w", name, err)
		}
		l.maps[name] = m
		if l.maps[tagsOf[name]] != nil && m.MaxEntries() != entries {
			return fmt.Errorf("map %s: %w: %d entries, and tags for %d; run `sluice system reset` first", name, ErrLayout, m.MaxEntries(), entries)
		}
		l.noteKeptSize(name, m, sizes[name])
	}
	return nil
}

// noteKeptSize notes a conntrack table that has not the size that was asked for.
func (l *Loader) noteKeptSize(name string, m *ebpf.Map, size conntrackSize) {
	if size.flows != 0 && size.entries != m.MaxEntries() {
		l.keptSizes = append(l.keptSizes, KeptSize{name, uint32(maps.FlowCapacity(m) / 2), size.flows})
	}
}

// openMap opens the map's pin, or creates the map and pins it. An array grows with
// its indexes. A conntrack table has a size of its own: one whose size was changed
// keeps the old one, for its entries are worth more.
func (l *Loader) openMap(name string, spec *ebpf.MapSpec, size uint32) (*ebpf.Map, error) {
	if size != 0 {
		spec.MaxEntries = size
	}
	path := l.pins.mapPin(name)
	m, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return createMap(path, spec)
	}
	l.madeMaps = false
	if err != nil {
		return nil, err
	}
	same := spec.Copy()
	same.MaxEntries = m.MaxEntries()
	if err := same.Compatible(m); err != nil {
		m.Close()
		return nil, fmt.Errorf("%w: %w; run `sluice system reset` first", ErrLayout, err)
	}
	if size != 0 || !outgrown(m, spec) {
		return m, nil
	}
	grown, err := grow(path, m, spec)
	if err != nil {
		m.Close()
	}
	return grown, err
}

func createMap(path string, spec *ebpf.MapSpec) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, err
	}
	if err := m.Pin(path); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// MadeMaps reports whether Open has made every map, of which none had an entry
// then.
func (l *Loader) MadeMaps() bool { return l.madeMaps && l.upgraded == nil }

// Maps returns the maps by name. They stay the loader's: Close closes them.
func (l *Loader) Maps() map[string]*ebpf.Map { return l.maps }

// Timeouts returns how long the programs let flows live without packets.
func (l *Loader) Timeouts() datapath.Timeouts { return l.timeouts }

// Mode returns how programs meet devices.
func (l *Loader) Mode() AttachMode { return l.mode }

// Close gives up the file descriptors; pinned maps and links stay.
func (l *Loader) Close() {
	for _, m := range l.maps {
		m.Close()
	}
	for _, programs := range l.programs {
		programs.close()
	}
	if l.flowTable != nil {
		l.flowTable.Close()
	}
	l.closeTunnel()
}

// KeptSize is a conntrack table that was there already, with room for another
// number of flows than the configuration asks for: its entries are worth more.
type KeptSize struct {
	Name       string
	Has, Asked uint32
}

// KeptSizes returns those tables.
func (l *Loader) KeptSizes() []KeptSize { return l.keptSizes }
