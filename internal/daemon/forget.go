package daemon

import (
	"errors"
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

// forget takes away what a first start has made that failed before there was
// an engine: somebody else may have the network namespace, or the kernel may be
// too old, and then nothing of us is to stay.
func (i *instance) forget() error {
	if i.held == nil || !i.first || i.engine != nil {
		return nil
	}
	errs := []error{i.removeMarked(), removeFiles(i.dirs)}
	if i.madeRoot {
		errs = append(errs, os.Remove(i.dirs.Root))
	}
	return errors.Join(errs...)
}

func (i *instance) removeMarked() error {
	devices, err := netdev.Open(i.name)
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
