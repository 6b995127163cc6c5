package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/sluice-net/sluice/internal/dirs"
	"github.com/sluice-net/sluice/internal/store"
	"github.com/sluice-net/sluice/loader"
)

// Reset takes everything of an instance away without its daemon. The caller is
// in the network namespace that was the host.
func Reset(ctx context.Context, o Options) error {
	if err := requireRoot(); err != nil {
		return err
	}
	d := dirs.New(o.Root)
	if unused(d) {
		return nil // never, or reset already
	}
	i, err := openInstance(ctx, o)
	if errors.Is(err, store.ErrDamaged) { // it is to go anyway, and what no record knows goes with the rest
		if err := os.Remove(d.DB()); err != nil {
			return err
		}
		i, err = openInstance(ctx, o)
	}
	if err != nil {
		return fmt.Errorf("open the instance to reset it: %w", err)
	}
	return i.reset(ctx)
}

// removeFiles takes an instance's reserved ports, mounts and files away. With the bpffs go the
// pins, and with the pins the last maps and links. A --root that the user made
// stays, empty.
func removeFiles(d dirs.Dirs) error {
	return errors.Join(
		releasePorts(d),
		loader.Unmount(d.BPF()),
		loader.Unmount(d.Cgroup()),
		os.RemoveAll(d.Run),
		os.RemoveAll(d.State),
	)
}
