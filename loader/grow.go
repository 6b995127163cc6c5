package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"

	"github.com/cilium/ebpf"
)

// outgrown reports whether a pinned map is an array that ends before indexes
// that programs now use: there are more drop reasons than there were, say.
func outgrown(pinned *ebpf.Map, spec *ebpf.MapSpec) bool {
	array := spec.Type == ebpf.Array || spec.Type == ebpf.PerCPUArray
	return array && pinned.MaxEntries() < spec.MaxEntries
}

// grow replaces a pinned array by one of the spec's size with the same entries.
// Programs of before go on with the old one until they are replaced. It closes
// the old one unless it fails.
func grow(path string, old *ebpf.Map, spec *ebpf.MapSpec) (*ebpf.Map, error) {
	grown, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(copyArray(old, grown), replacePin(path, grown)); err != nil {
		grown.Close()
		return nil, fmt.Errorf("replace %s by a larger map: %w", path, err)
	}
	old.Close()
	return grown, nil
}

// copyArray copies what the smaller array has.
func copyArray(from, to *ebpf.Map) error {
	value := reflect.New(reflect.ArrayOf(int(from.ValueSize()), reflect.TypeFor[byte]()))
	if from.Type() == ebpf.PerCPUArray { // a value for each CPU
		value = reflect.New(reflect.SliceOf(value.Type().Elem()))
	}
	for index := range from.MaxEntries() {
		if err := from.Lookup(index, value.Interface()); err != nil {
			return err
		}
		if err := to.Put(index, value.Elem().Interface()); err != nil {
			return err
		}
	}
	return nil
}

// replacePin puts a map where another one is, at no time leaving the place
// empty.
func replacePin(path string, m *ebpf.Map) error {
	beside := path + "+"
	if err := os.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // else a daemon was killed here
	}
	if err := m.Pin(beside); err != nil {
		return err
	}
	return os.Rename(beside, path)
}
