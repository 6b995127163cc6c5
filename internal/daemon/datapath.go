package daemon

import (
	"errors"
	maputil "maps"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

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
	swept    bool            // there is no entry from before us
}

var _ engine.Datapath = (*datapath)(nil)

func newDatapath(l *loader.Loader, m *maps.Maps) *datapath {
	return &datapath{Maps: m, loader: l, attached: map[string]bool{}, swept: l.MadeMaps()}
}

func (d *datapath) AttachContainer(device string, ifindex int) error {
	return d.loader.AttachContainer(device, ifindex)
}

func (d *datapath) FilterContainer(device string, ifindex int) error {
	return d.loader.FilterContainer(device, ifindex)
}

func (d *datapath) ContainerFiltered(ifindex int) (bool, error) {
	return d.loader.ContainerFiltered(ifindex)
}

func (d *datapath) DetachContainer(device string) error { return d.loader.DetachContainer(device) }

func (d *datapath) AttachBridge(device string, ifindex int) error {
	return d.loader.AttachBridge(device, ifindex)
}

func (d *datapath) DetachBridge(device string) error { return d.loader.DetachBridge(device) }

// SetUplinks attaches to new uplinks before the datapath may route through
// them, and stops routing before it detaches from old ones. A device that cannot
// be attached to is no uplink, and keeps none of the others from being one; one
// that is gone by now is left to the notification of that.
func (d *datapath) SetUplinks(uplinks []engine.Uplink) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	attached := map[uint32]maps.Uplink{}
	names := map[string]bool{}
	var errs []error
	for _, u := range uplinks {
		names[u.Name] = true
		switch err := d.loader.AttachUplink(u.Name, u.Ifindex); {
		case errors.Is(err, unix.ENODEV):
		case err != nil:
			errs = append(errs, err)
		default:
			d.attached[u.Name] = true
			attached[uint32(u.Ifindex)] = maps.Uplink{IPv4: u.Source4, IPv6: u.Source6, Ethernet: u.Ethernet}
		}
	}
	errs = append(errs, d.Maps.SetUplinks(attached))
	earlier, err := d.loader.Attached(hooks.HookUplink)
	errs = append(errs, err)
	for _, name := range slices.Concat(earlier, slices.Collect(maputil.Keys(d.attached))) {
		if names[name] {
			continue
		}
		if err := d.loader.DetachUplink(name); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(d.attached, name)
	}
	return errors.Join(errs...)
}

// Sweep looks through all entries, which are many: but not the first time when
// the maps were made just now.
func (d *datapath) Sweep(use maps.InUse) error {
	d.mu.Lock()
	swept := d.swept
	d.swept = false
	d.mu.Unlock()
	if swept {
		return nil
	}
	return d.Maps.Sweep(use)
}

// SweepPrograms takes the pins of devices away that are not ours any more, and
// forgets what was attached to devices that are gone.
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
	return d.loader.SweepQdiscs()
}

// uplinks returns the names of the devices that have the uplink program.
func (d *datapath) uplinks() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maputil.Keys(d.attached))
}
