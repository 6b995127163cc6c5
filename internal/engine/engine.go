// Package engine holds the intent for networks, endpoints and published ports,
// and makes the kernel agree with it: it validates, plans, applies and unwinds.
// Every front translates into it; it knows nothing of containers.
package engine

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/sluice-net/sluice/internal/hostnet"
	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/store"
)

// HostNet is what the engine asks about the host; *hostnet.Host answers.
type HostNet interface {
	// Routes returns the host's destinations of a family, netlink.FAMILY_V4 or
	// netlink.FAMILY_V6, default routes left out.
	Routes(family int) ([]netip.Prefix, error)
	// EphemeralPorts returns the range that the kernel chooses ports from.
	EphemeralPorts() (first, last uint16, err error)
	// Listeners returns the sockets that hold ports of the protocol.
	Listeners(protocol uint8) (hostnet.Listeners, error)
	// Disconnect ends the connections of the host's processes to an address of
	// which ends says so.
	Disconnect(addr netip.Addr, ends func(hostnet.Connection) bool) error
}

// Options are what an engine works with.
type Options struct {
	Store    *store.DB
	Datapath Datapath
	Devices  *netdev.Host
	Host     HostNet
	Log      *slog.Logger
	// Bridge is what is asked of the default network; nil leaves one that is there
	// as it is.
	Bridge *Default
}

// Engine is the control plane's core. Its methods may be called from any
// goroutine: those that change something run one after another, and none of
// those that only look waits for them.
type Engine struct {
	datapath  Datapath
	devices   *netdev.Host
	host      HostNet
	log       *slog.Logger
	bridge    *Default
	registry  *registry
	graveyard *graveyard

	// announcing are those who tell neighbours of addresses.
	announcing sync.WaitGroup

	// verb is held by whatever changes intent or the kernel. It guards the
	// fields below.
	verb     sync.Mutex
	seen     *hostnet.State // of the host; nil until HostChanged was called
	lastPort uint16         // that was chosen for a request that left it open
	// unattached are the IDs of networks whose bridge has no program yet.
	unattached map[string]bool
	// filtered are the IDs of endpoints whose program is a filter of tc for now.
	filtered map[string]bool
	linking  linking
}

// New returns an engine with the intent that the store holds. The kernel is as
// it was until Reconcile is called. Close ends it.
func New(o Options) (*Engine, error) {
	registry, err := loadRegistry(o.Store)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		datapath: o.Datapath,
		devices:  o.Devices,
		host:     o.Host,
		log:      o.Log,
		bridge:   o.Bridge,
		registry: registry,

		unattached: map[string]bool{},
		filtered:   map[string]bool{},
	}
	e.linking.timer = time.AfterFunc(time.Hour, e.linkFiltered)
	e.graveyard = newGraveyard(e)
	return e, nil
}

// Networks returns every network, sorted by name.
func (e *Engine) Networks() []Network { return e.registry.allNetworks() }

// Network returns the network with the ID or the name, or whose ID alone
// begins with ref.
func (e *Engine) Network(ref string) (Network, error) { return e.registry.findNetwork(ref) }

// Endpoints returns the endpoints of a network, or of all when networkID is
// "", sorted by address.
func (e *Engine) Endpoints(networkID string) []Endpoint { return e.registry.endpointsOf(networkID) }

// Endpoint returns the endpoint with the ID.
func (e *Engine) Endpoint(id string) (Endpoint, error) { return e.registry.findEndpoint(id) }

// Owns reports whether the host's device is one that the engine made, or is
// about to make.
func (e *Engine) Owns(device string) bool {
	return device == netdev.LendingDevice || e.registry.ownsDevice(device)
}
