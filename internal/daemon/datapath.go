package daemon

import (
	maputil "maps"
	"slices"
	"sync"

	hooks "github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// datapath is the engine's view of the kernel: entries by maps, attachments by
// the loader.
type datapath struct {
	*maps.Maps
	loader *loader.Loader

	mu       sync.Mutex
	attached map[string]bool // names of the uplinks that have our program
}

var _ engine.Datapath = (*datapath)(nil)

func newDatapath(l *loader.Loader, m *maps.Maps) *datapath {
	return &datapath{Maps: m, loader: l, attached: map[string]bool{}}
}

func (d *datapath) AttachContainer(device string, ifindex int) error {
	return d.loader.AttachContainer(device, ifindex)
}

func (d *datapath) DetachContainer(device string) error { return d.loader.DetachContainer(device) }

func (d *datapath) AttachBridge(device string, ifindex int) error {
	return d.loader.AttachBridge(device, ifindex)
}

func (d *datapath) DetachBridge(device string) error { return d.loader.DetachBridge(device) }

// SetUplinks attaches to new uplinks before the datapath may route through
// them, and stops routing before it detaches from old ones.
func (d *datapath) SetUplinks(uplinks []engine.Uplink) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	sources := map[uint32]maps.Sources{}
	names := map[string]bool{}
	for _, u := range uplinks {
		if err := d.loader.AttachUplink(u.Name, u.Ifindex); err != nil {
			return err
		}
		d.attached[u.Name] = true
		sources[uint32(u.Ifindex)] = maps.Sources{IPv4: u.Source4, IPv6: u.Source6}
		names[u.Name] = true
	}
	if err := d.Maps.SetUplinks(sources); err != nil {
		return err
	}
	earlier, err := d.loader.Attached(hooks.HookUplink)
	if err != nil {
		return err
	}
	for _, name := range slices.Concat(earlier, slices.Collect(maputil.Keys(d.attached))) {
		if names[name] {
			continue
		}
		if err := d.loader.DetachUplink(name); err != nil {
			return err
		}
		delete(d.attached, name)
	}
	return nil
}

// SweepPrograms takes the pins of devices away that are not ours any more.
func (d *datapath) SweepPrograms(owned func(device string) bool) error {
	for hook, detach := range map[hooks.Hook]func(string) error{
		hooks.HookContainer: d.loader.DetachContainer,
		hooks.HookBridge:    d.loader.DetachBridge,
	} {
		attached, err := d.loader.Attached(hook)
		if err != nil {
			return err
		}
		for _, device := range attached {
			if owned(device) {
				continue
			}
			if err := detach(device); err != nil {
				return err
			}
		}
	}
	return nil
}

// uplinks returns the names of the devices that have the uplink program.
func (d *datapath) uplinks() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maputil.Keys(d.attached))
}
