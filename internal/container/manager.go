package container

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/dirs"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/store"
)

// Engine is what containers need of the engine.
type Engine interface {
	Network(ref string) (engine.Network, error)
	CreateEndpoint(ctx context.Context, req engine.EndpointRequest) (engine.Endpoint, error)
	DeleteEndpoint(ctx context.Context, id string) error
	RenameEndpoint(id, owner string, names []string) error
	DrainEndpoint(id string, drain bool) error
	Endpoint(id string) (engine.Endpoint, error)
	Endpoints(networkID string) []engine.Endpoint
	Publish(ctx context.Context, id string, ports []engine.PublishedPort) ([]engine.PublishedPort, error)
	Unpublish(ctx context.Context, id string, ports []engine.PublishedPort) ([]engine.PublishedPort, error)
}

// Names serves names inside sandboxes; *names.Service does.
type Names interface {
	Serve(sandbox string, servers []netip.AddrPort) error
	Stop(sandbox string) error
}

// Store keeps the records.
type Store interface {
	Put(bucket, key string, value any) error
	Delete(bucket, key string) error
	Each(bucket string, fn func(key string, raw []byte) error) error
}

// Options are what a manager works with.
type Options struct {
	Dirs   dirs.Dirs
	Store  Store
	Engine Engine
	Names  Names
	Shim   string // path of the shim's program
	Log    *slog.Logger
	// Rebooted says that no process of the records can be there any more.
	Rebooted bool
}

// Manager holds the containers. Its methods may be called from any goroutine.
type Manager struct {
	Options
	sandboxes sandboxes
	hosts     sync.Mutex // held while hosts files are changed

	mu         sync.Mutex
	containers map[string]*container // by ID
	watchers   sync.WaitGroup
	closed     chan struct{}
}

// container is a record with what only the running daemon needs.
type container struct {
	// verb is held by what changes the container's state; it is never held
	// while waiting for the command.
	verb sync.Mutex

	// Guarded by Manager.mu:
	record Record
	done   chan struct{} // closed when the command has ended; nil unless it runs
	gone   bool          // removed
	// removing is set while the command is being killed to be removed.
	removing bool
}

// New returns a manager with the containers of the store. Adopt must be called
// before anything else.
func New(o Options) (*Manager, error) {
	m := &Manager{Options: o, containers: map[string]*container{}, closed: make(chan struct{})}
	err := o.Store.Each(bucket, func(id string, raw []byte) error {
		c := &container{}
		if err := store.Decode(raw, &c.record); err != nil {
			return fmt.Errorf("container %s: %w", id, err)
		}
		m.containers[id] = c
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the containers: %w", err)
	}
	return m, nil
}

// Close stops watching and waits for what was under way. The containers go on.
func (m *Manager) Close() {
	close(m.closed)
	m.watchers.Wait()
}

// snapshot returns a copy of the record.
func (m *Manager) snapshot(c *container) Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return c.record
}

// update changes the record and stores it.
func (m *Manager) update(c *container, change func(*Record)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed := c.record
	change(&changed)
	if err := m.Store.Put(bucket, changed.ID, changed); err != nil {
		return fmt.Errorf("store container %s: %w", changed.Name, err)
	}
	c.record = changed
	return nil
}

// find looks for an ID, then a name, then the beginning of an ID, as Docker
// does. A name may have Docker's leading slash.
func (m *Manager) find(ref string) (*container, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.containers[ref]; ok {
		return c, nil
	}
	var begins []*container
	for id, c := range m.containers {
		if c.record.Name == strings.TrimPrefix(ref, "/") {
			return c, nil
		}
		if ref != "" && strings.HasPrefix(id, ref) {
			begins = append(begins, c)
		}
	}
	switch len(begins) {
	case 0:
		return nil, apierr.NotFound("No such container: %s", ref)
	case 1:
		return begins[0], nil
	}
	return nil, apierr.BadParameter("container %s is ambiguous: %d IDs begin with it", ref, len(begins))
}

// Get returns a container's record.
func (m *Manager) Get(ref string) (Record, error) {
	c, err := m.find(ref)
	if err != nil {
		return Record{}, err
	}
	return m.snapshot(c), nil
}

// record returns the record of a container's ID, or nil.
func (m *Manager) record(id string) *Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.containers[id]
	if !ok {
		return nil
	}
	r := c.record
	return &r
}

// List returns all records, the newest first.
func (m *Manager) List() []Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	records := make([]Record, 0, len(m.containers))
	for _, c := range m.containers {
		records = append(records, c.record)
	}
	slices.SortFunc(records, func(a, b Record) int { return b.Created.Compare(a.Created) })
	return records
}
