package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sluice-net/sluice/internal/dirs"
	"github.com/sluice-net/sluice/internal/netdev"
)

func absent(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// unused reports whether an instance has neither a state nor pins.
func unused(d dirs.Dirs) bool { return absent(d.DB()) && absent(d.BPF()) }

// refuseForeign refuses directories with files of somebody else's, which the
// instance would take away in the end. Of ours, the first thing that there is in
// either is known.
func refuseForeign(d dirs.Dirs) error {
	if !unused(d) {
		return nil
	}
	for dir, ours := range map[string]string{d.State: d.Containers(), d.Run: d.Shims()} {
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 && absent(ours) {
			return fmt.Errorf("%s is there already and is not sluice's: give --root a directory of its own", dir)
		}
	}
	return nil
}

// abandon closes an instance that could not be opened, and takes away what its
// first start has made: somebody else may have the network namespace, or the
// kernel may be too old, and then nothing of us is to stay. What an earlier
// daemon left goes on.
func (i *instance) abandon(ctx context.Context) error {
	if i.held == nil || !i.first {
		i.close()
		return nil
	}
	if i.unwatch != nil {
		i.unwatch()
	}
	var err error
	if i.engine != nil {
		err = i.engine.Reset(context.WithoutCancel(ctx))
	}
	return errors.Join(err, i.end(i.forget))
}

// forget takes away the devices and files of a first start.
func (i *instance) forget() error {
	errs := []error{i.removeMarked(), removeFiles(i.dirs)}
	if i.madeRoot {
		errs = append(errs, os.Remove(i.dirs.Root))
	}
	return errors.Join(errs...)
}

func (i *instance) removeMarked() error {
	devices, err := netdev.Open(i.name, i.dirs.Borrowed())
	if err != nil {
		return err
	}
	defer devices.Close()
	names, err := devices.Marked()
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, devices.DeleteDevice(name))
	}
	return errors.Join(errs...)
}
