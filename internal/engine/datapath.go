package engine

import (
	"net/netip"

	"github.com/sluice-net/sluice/maps"
)

// Datapath is what the engine asks of the kernel: map entries from package
// maps and attachments from package loader, behind one interface so that
// plans can be tested, and made to fail, without a kernel.
//
// Every call is idempotent: setting what is set and clearing what is not
// there succeed.
type Datapath interface {
	SetNetwork(index uint16, n maps.Network) error
	ClearNetwork(index uint16) error

	// SetEndpoint keeps the index's generation; ClearEndpoint raises it,
	// which ends every flow of the endpoint at once.
	SetEndpoint(index uint32, e maps.Endpoint) error
	ClearEndpoint(index uint32) error

	// SetRule installs a masquerade or alias rule; SetRules those of published
	// ports and the ports that lead to them, all or none. ClearRule and
	// ClearRules take rules and ports away and end their flows.
	SetRule(index uint32, r maps.Rule) error
	SetRules(rules []maps.IndexedRule) error
	ClearRule(index uint32) error
	ClearRules(indexes []uint32) error
	// AllRuleCounters returns the counters of the rules from 0 to last.
	AllRuleCounters(last uint32) ([]maps.RuleCounters, error)

	// SetAlias replaces an alias and its members at once; ClearAlias takes it
	// away and lets its turn begin anew. Its flows end with its rule.
	SetAlias(index uint32, a maps.Alias) error
	ClearAlias(index uint32, addrs ...netip.Addr) error
	AliasSelections(index uint32) (uint64, error)

	// Asked returns what a socket of the host had asked for when the datapath
	// gave it another address and port.
	Asked(protocol uint8, cookie uint64, got netip.AddrPort) (asked netip.AddrPort, ok bool)

	// SetHostAddrs replaces the set of the host's own addresses, and
	// SetUplinks the set of devices that lead outside, attaching and
	// detaching the uplink program.
	SetHostAddrs(addrs []maps.HostAddr) error
	SetUplinks(uplinks []Uplink) error

	// AttachContainer attaches by the way that is the cheapest for packets,
	// FilterContainer by the one that is the quickest to take, which the former
	// replaces. While a device may have both its endpoint is final.
	AttachContainer(device string, ifindex int) error
	FilterContainer(device string, ifindex int) error
	ContainerFiltered(ifindex int) (bool, error)
	DetachContainer(device string) error
	AttachBridge(device string, ifindex int) error
	DetachBridge(device string) error

	// Sweep takes away the entries that nothing in use accounts for, and
	// SweepPrograms the attachments of devices of ours that we do not own
	// any more.
	Sweep(use maps.InUse) error
	SweepPrograms(owned func(device string) bool) error
}

// Uplink is a device that leads outside.
type Uplink struct {
	Name    string
	Ifindex int
	// Source4 and Source6 are the addresses that masqueraded packets get when the
	// route does not prefer another: see hostnet.Uplink.
	Source4, Source6 netip.Addr
	// Ethernet is whether its packets have Ethernet headers.
	Ethernet bool
}
