package bench

import (
	"errors"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sluice-net/sluice/loader"
)

// Env is what a scenario builds upon, and the list of what has to go when it
// ends.
type Env struct {
	Sluice string // path of the binary
	// Others are further binaries, by the name of their arm: the same scenario
	// for another build.
	Others map[string]string
	Frames int // that an arm of a forwarding scenario sends in a round, at least
	Flows  int // that are many
	// Self is a program whose first argument traffic.Command makes it call
	// traffic.Main with the others.
	Self  string
	Turn  time.Duration // how long a client is at work in a round
	Ports []int         // how many published ports to compare
	Wide  bool          // everything, however long it takes
	// Only has the values that parameters shall have where a scenario can leave
	// the others out; and that "arm" shall have.
	Only map[string]string
	Temp string // directory for what is made; the system's for ""

	dir      string // for namespaces, instances and mounts
	cgroup   string // an empty cgroup of version 2
	cleanups []func() error
}

// open makes the directory and the cgroup.
func (e *Env) open() error {
	dir, err := os.MkdirTemp(e.Temp, "sluice-bench-")
	if err != nil {
		return err
	}
	e.dir = dir
	e.cleanup(func() error { return os.RemoveAll(dir) })

	// The daemon's own way to a cgroup2 mount, wherever the machine has one.
	hierarchy := filepath.Join(dir, "cgroup")
	if err := loader.MountCgroup(hierarchy); err != nil {
		return err
	}
	e.cleanup(func() error { return loader.Unmount(hierarchy) })
	e.cgroup, err = os.MkdirTemp(hierarchy, "sluice-bench-")
	if err != nil {
		return err
	}
	e.cleanup(func() error { return removeCgroup(e.cgroup) })
	return nil
}

// binaries yields the arms of sluice and their binaries, the one to be measured
// first.
func (e *Env) binaries() iter.Seq2[string, string] {
	return func(yield func(name, path string) bool) {
		if !yield(armSluice, e.Sluice) {
			return
		}
		for _, name := range slices.Sorted(maps.Keys(e.Others)) {
			if !yield(name, e.Others[name]) {
				return
			}
		}
	}
}

// wants reports whether rows with the parameters were asked for.
func (e *Env) wants(parameters map[string]string) bool {
	for name, want := range e.Only {
		if value, ok := parameters[name]; ok && value != want {
			return false
		}
	}
	return true
}

// cleanup has fn run when the scenario ends, the last first.
func (e *Env) cleanup(fn func() error) { e.cleanups = append(e.cleanups, fn) }

// close undoes everything and returns all that went wrong.
func (e *Env) close() error {
	var errs []error
	for len(e.cleanups) > 0 {
		last := len(e.cleanups) - 1
		fn := e.cleanups[last]
		e.cleanups = e.cleanups[:last]
		errs = append(errs, fn())
	}
	return errors.Join(errs...)
}
