package loader

import (
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

// programs are those of one hook.
type programs struct {
	mu     sync.Mutex
	object *ebpf.CollectionSpec // nil when they are loaded
	byName map[string]*ebpf.Program
}

// loadPrograms loads the hooks side by side: nearly all of it is the verifier's
// work, which takes a CPU for each.
func (l *Loader) loadPrograms() error {
	l.types = kernelTypes()
	objects, err := datapath.LoadPrograms()
	if err != nil {
		return fmt.Errorf("read the compiled programs: %w", err)
	}
	l.programs = map[datapath.Hook]*programs{}
	for hook, object := range objects {
		if err := l.setConstants(object); err != nil {
			return err
		}
		l.programs[hook] = &programs{object: object}
	}
	if l.timeouts, err = datapath.TimeoutsOf(objects[datapath.HookContainer]); err != nil {
		return err
	}
	var loading errgroup.Group
	loading.Go(l.loadFlowTable)
	if l.config.OnDemand {
		return loading.Wait()
	}
	for hook := range objects {
		loading.Go(func() error { return l.Load(hook) })
	}
	err = loading.Wait()
	l.types = nil
	return err
}

// Load loads the programs of a hook, unless they are: Open has done so for every
// hook, but with Config.OnDemand.
func (l *Loader) Load(hook datapath.Hook) error {
	p := l.programs[hook]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.object == nil {
		return nil
	}
	loaded, err := l.loadObject(p.object)
	if err != nil {
		return explainLoad(hook.String(), err, l.config.LogDir)
	}
	p.byName, p.object = loaded, nil
	return nil
}

// loadOne loads an object that has one program, for which there is no hook.
func (l *Loader) loadOne(name string, read func() (*ebpf.CollectionSpec, error)) (*ebpf.Program, error) {
	spec, err := read()
	if err != nil {
		return nil, fmt.Errorf("read the compiled programs: %w", err)
	}
	if err := l.setConstants(spec); err != nil {
		return nil, err
	}
	programs, err := l.loadObject(spec)
	if err != nil {
		return nil, explainLoad(name, err, l.config.LogDir)
	}
	for _, program := range programs {
		return program, nil
	}
	return nil, fmt.Errorf("the %s object has no program", name)
}

// setConstants sets the constants that the object has.
func (l *Loader) setConstants(spec *ebpf.CollectionSpec) error {
	if err := l.config.setConstants(spec); err != nil {
		return err
	}
	constants, err := maps.FlowConstants(l.maps)
	if err != nil {
		return err
	}
	return setVariables(spec, constants)
}

// loadObject loads what an object with its constants set has.
func (l *Loader) loadObject(spec *ebpf.CollectionSpec) (map[string]*ebpf.Program, error) {
	replacements := map[string]*ebpf.Map{}
	for name := range spec.Maps {
		if shared, ok := l.maps[name]; ok {
			replacements[name] = shared
			spec.Maps[name].MaxEntries = shared.MaxEntries()
		}
	}
	// The programs look at types of the kernel itself: those of its modules, which
	// may be many, need not be read.
	types := kernelTypes()
	kernel, err := types.Kernel()
	if err != nil {
		return nil, fmt.Errorf("read the kernel's type information: %w", err)
	}
	collection, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		MapReplacements: replacements, Cache: types, Programs: ebpf.ProgramOptions{KernelTypes: kernel},
	})
	if err != nil {
		return nil, err
	}
	defer collection.Close()
	programs := map[string]*ebpf.Program{}
	for name := range spec.Programs {
		programs[name] = collection.DetachProgram(name)
	}
	return programs, nil
}

// Program returns the only program of a packet hook, for tests with
// BPF_PROG_TEST_RUN.
func (l *Loader) Program(hook datapath.Hook) *ebpf.Program {
	for _, program := range l.programs[hook].loaded() {
		return program
	}
	return nil
}

func (p *programs) loaded() map[string]*ebpf.Program {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byName
}

func (p *programs) close() {
	for _, program := range p.loaded() {
		program.Close()
	}
}
