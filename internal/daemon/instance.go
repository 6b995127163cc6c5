package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sluice-net/sluice/internal/companion"
	"github.com/sluice-net/sluice/internal/container"
	"github.com/sluice-net/sluice/internal/dirs"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/hostnet"
	"github.com/sluice-net/sluice/internal/monitor"
	"github.com/sluice-net/sluice/internal/names"
	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/store"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// instance is everything that one --root owns, opened.
type instance struct {
	options Options
	dirs    dirs.Dirs
	log     *slog.Logger

	loader     *loader.Loader
	maps       *maps.Maps
	store      *store.DB
	bootID     string
	datapath   *datapath
	host       *hostnet.Host
	seen       atomic.Pointer[hostnet.State] // as the engine was told last
	drops      *monitor.Hub
	localPorts [2]uint16 // first and last that masquerade keeps out of
	engine     *engine.Engine
	names      *names.Service
	containers *container.Manager
	scrapes    net.Listener // of /metrics; nil without
	watching   chan error   // the end of the watch of the host's network
	unwatch    func()
	changed    chan []string // names of our devices
	unrepair   func()
	unlisten   func() // nil while there is no API

	closers  []func()     // in the order of opening
	held     *os.File     // the lock
	claim    net.Listener // of the network namespace; nil when an ordinary user has it
	name     string       // see instanceName
	first    bool         // the root was unused
	madeRoot bool         // there was not even the directory
	ended    sync.Once
}

// openInstance opens the instance and makes the kernel agree with its state.
// An error closes what was opened, and takes away what a first start has made
// so far; what an earlier daemon left goes on.
func openInstance(ctx context.Context, o Options) (*instance, error) {
	if err := requireRoot(); err != nil {
		return nil, err
	}
	i := &instance{options: o, dirs: dirs.New(o.Root), log: o.Log, watching: make(chan error, 1), changed: make(chan []string, 256)}
	for _, step := range []func(context.Context) error{
		i.lock, i.claimNamespace, i.keepHost, i.listenMetrics, i.mount, i.openEngine, i.watchHost, i.reconcile,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, i.abandon(ctx))
		}
	}
	return i, nil
}

// close closes everything. Containers, links and maps stay.
func (i *instance) close() { _ = i.end(func() error { return nil }) }

// end closes everything in reverse, does one last thing and gives the lock
// back. Only the first call does anything; others wait for it.
func (i *instance) end(last func() error) (err error) {
	i.ended.Do(func() {
		for n := len(i.closers) - 1; n >= 0; n-- {
			i.closers[n]()
		}
		err = last()
		if i.claim != nil {
			_ = i.claim.Close()
		}
		if i.held != nil {
			_ = i.held.Close()
		}
	})
	return err
}

func (i *instance) onClose(fn func()) { i.closers = append(i.closers, fn) }

// lock makes the directories and takes the lock. From then on every path is by
// the root's own name: records, which tell a sandbox by its path, and clients
// must find it however a later daemon is told of the root.
func (i *instance) lock(context.Context) error {
	if err := refuseForeign(i.dirs); err != nil {
		return err
	}
	i.madeRoot = i.dirs.Root != "" && absent(i.dirs.Root)
	for _, dir := range []string{i.dirs.Containers(), i.dirs.Shims(), i.dirs.Netns()} { // see refuseForeign
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	var err error
	if i.name, err = instanceName(i.dirs); err != nil {
		return err
	}
	if i.dirs.Root != "" {
		i.dirs = dirs.New(i.name)
	}
	i.held, err = takeLock(i.dirs.Lock())
	i.first = unused(i.dirs)
	return err
}

func (i *instance) claimNamespace(context.Context) (err error) {
	i.claim, err = claimNamespace(i.name)
	return err
}

func (i *instance) mount(context.Context) error { return loader.MountBPF(i.dirs.BPF()) }

func (i *instance) openEngine(context.Context) error {
	devices, err := netdev.Open(i.name, i.dirs.Borrowed())
	if err != nil {
		return err
	}
	i.onClose(devices.Close)
	host, err := hostnet.Open()
	if err != nil {
		return err
	}
	i.onClose(host.Close)
	i.host = host
	if err := i.openDatapath(devices, host); err != nil {
		return err
	}
	db, err := store.Open(i.dirs.DB())
	if err != nil {
		return err
	}
	i.onClose(func() { _ = db.Close() })
	i.store = db
	if i.bootID, err = store.BootID(); err != nil {
		return err
	}
	sameBoot, err := db.IsBoot(i.bootID)
	if err != nil {
		return err
	}
	i.engine, err = engine.New(engine.Options{
		Store:    db,
		Datapath: i.datapath,
		Devices:  devices,
		Host:     host,
		Log:      i.log,
		Bridge:   i.options.bridge,
	})
	if err != nil {
		return err
	}
	i.onClose(i.engine.Close) // before the store, and after the containers
	if err := i.engine.RemoveStrayDevices(); err != nil {
		i.log.Error("not every device that was left over could be removed", "error", err)
	}
	if err := i.openNames(); err != nil {
		return err
	}
	binary, err := i.shimBinary()
	if err != nil {
		return err
	}
	i.containers, err = container.New(container.Options{
		Dirs: i.dirs, Store: db, Engine: i.engine, Names: i.names, Shim: binary, Log: i.log, Rebooted: !sameBoot,
	})
	if err != nil {
		return err
	}
	i.onClose(i.containers.Close) // before the store is closed
	return nil
}

func (i *instance) shimBinary() (string, error) {
	if i.options.Shim == "" {
		return companion.Find(companion.Shim)
	}
	return filepath.Abs(i.options.Shim)
}

func (i *instance) openDatapath(devices *netdev.Host, host *hostnet.Host) error {
	lending, err := devices.EnsureLendingDevice()
	if err != nil {
		return err
	}
	cookie, err := netnsCookie()
	if err != nil {
		return err
	}
	first, last, err := host.EphemeralPorts()
	if err != nil {
		return err
	}
	if last, err = i.reservePorts(first, last); err != nil {
		return err
	}
	i.localPorts = [2]uint16{first, last}
	i.loader, err = loader.Open(i.dirs.BPF(), loader.Config{
		Observe:    true, // whoever watches, now or later, needs no other programs
		FIBIfindex: uint32(lending),
		HostCookie: cookie,
		LocalPorts: i.localPorts,

		ConntrackMax:    i.options.ConntrackMax,
		ConntrackNewMax: i.options.ConntrackNewMax,
		Timeouts:        i.options.Timeouts,

		Attach: loader.AttachMode(i.options.Attach),
		LogDir: i.dirs.Run,
	})
	if err != nil {
		return err
	}
	i.onClose(i.loader.Close)
	i.logUpgrade()
	for _, kept := range i.loader.KeptSizes() {
		i.log.Warn("a conntrack table keeps the size that it was made with, until `sluice system reset`", "map", kept.Name,
			"flows", kept.Has, "asked for", kept.Asked)
	}
	i.maps, err = maps.New(i.loader.Maps(), i.loader.FlowTable())
	i.datapath = newDatapath(i.loader, i.maps)
	i.drops = monitor.NewHub(reports{i.maps})
	return err
}

// logUpgrade says what became of the maps of another version's programs.
func (i *instance) logUpgrade() {
	u := i.loader.Upgraded()
	if u == nil {
		return
	}
	i.log.Info("the datapath has another layout than before", "from", u.From, "to", loader.Layout, "carried over", u.Carried)
	for name, why := range u.Lost {
		i.log.Warn("what a map had cannot be carried over: connections that it knew end", "map", name, "reason", why)
	}
}

// watchHost follows the host's devices and addresses, and returns when the
// datapath knows those of now.
func (i *instance) watchHost(ctx context.Context) error {
	watcher, err := hostnet.NewWatcher(i.engine.Owns, i.options.Uplinks)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	known := make(chan struct{})
	ended := make(chan struct{})
	first := true
	go func() {
		defer close(ended)
		err := watcher.Run(ctx, func(state hostnet.State) {
			i.seen.Store(&state)
			i.engine.HostChanged(state)
			if first {
				first = false
				i.warnOfMissing(state.Uplinks)
				close(known)
			}
		}, i.engine.ForwardingChanged, i.devicesChanged)
		if ctx.Err() == nil {
			i.watching <- err
		}
	}()
	i.unwatch = func() { cancel(); <-ended }
	i.onClose(i.unwatch)
	select {
	case <-known:
		return nil
	case err := <-i.watching:
		return fmt.Errorf("watch the host's network: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// warnOfMissing names the uplinks that were asked for and are not there: one
// that appears later is taken, but one that was mistyped never will be.
func (i *instance) warnOfMissing(found []hostnet.Uplink) {
	for _, name := range i.options.Uplinks {
		if !slices.ContainsFunc(found, func(u hostnet.Uplink) bool { return u.Name == name }) {
			i.log.Warn("no such Ethernet device yet", "uplink", name)
		}
	}
}

// reconcile repairs what differs. A thing that cannot be repaired is reported
// and does not keep the rest from working.
func (i *instance) reconcile(ctx context.Context) error {
	if err := i.engine.Reconcile(ctx); err != nil {
		i.log.Error("not everything could be repaired", "error", err)
	}
	if err := i.containers.Adopt(ctx); err != nil {
		i.log.Error("not everything of the containers could be adopted", "error", err)
	}
	if _, err := i.engine.Network(engine.NetworkBridge); err != nil {
		return fmt.Errorf("the default network could not be made: %w", err)
	}
	return i.store.MarkBoot(i.bootID)
}

// attachSockets opens the host's own way to published ports.
func (i *instance) attachSockets() error {
	if i.options.Cgroup == "" {
		if err := loader.MountCgroup(i.dirs.Cgroup()); err != nil {
			return err
		}
	}
	return i.loader.AttachSockets(i.cgroup())
}

// cgroup is the directory that the socket hook is attached to.
func (i *instance) cgroup() string {
	if i.options.Cgroup != "" {
		return i.options.Cgroup
	}
	return i.dirs.Cgroup()
}

// reset closes the instance and takes away everything that it has made.
func (i *instance) reset(ctx context.Context) error {
	i.unwatch() // or what is taken away would be seen as a change, and repaired
	if i.unrepair != nil {
		i.unrepair()
	}
	if i.unlisten != nil {
		i.unlisten()
	}
	err := errors.Join(i.containers.Reset(ctx), i.engine.Reset(ctx), i.loader.DetachSockets())
	return errors.Join(err, i.end(func() error { return removeFiles(i.dirs) }))
}
