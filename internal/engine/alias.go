package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/maps"
)

// Alias is a name that endpoints of a network share, and the address, or one per
// family, behind which they take connections in turn. It is there while an
// endpoint has it.
type Alias struct {
	NetworkID string
	Name      string     // in lower case
	Address   netip.Addr // of the network's subnet; no device has it
	Address6  netip.Addr // likewise; zero in a network without IPv6
	Index     uint32     // its number in the datapath, from 1
	Rule      uint32     // index of the rule that counts it
}

// Addresses returns the alias's addresses, that of IPv4 first.
func (a Alias) Addresses() []netip.Addr { return valid(a.Address, a.Address6) }

// AliasMode is what the aliases of a network resolve to.
type AliasMode string

// The modes.
const (
	// AliasVIP is one address per alias, behind which members take turns.
	AliasVIP AliasMode = "vip"
	// AliasDNSRR is the addresses of the members, in another order each time.
	AliasDNSRR AliasMode = "dnsrr"
)

func parseAliasMode(mode string) (AliasMode, error) {
	switch m := AliasMode(mode); m {
	case "":
		return AliasVIP, nil
	case AliasVIP, AliasDNSRR:
		return m, nil
	}
	return "", apierr.BadParameter("alias mode %q is neither %s nor %s", mode, AliasVIP, AliasDNSRR)
}

// AliasAddresses returns the addresses behind which the members of an alias take
// turns. There are none when the network's aliases have no addresses or nobody
// has this one. Case does not matter, as in DNS.
func (e *Engine) AliasAddresses(networkID, name string) []netip.Addr {
	a, _ := e.registry.findAlias(networkID, name)
	return a.Addresses()
}

// AliasView is an alias in force.
type AliasView struct {
	Alias
	Network    Network
	Members    []Endpoint // those that take connections, in the order of their turns
	Selections uint64     // connections handed out
}

// Aliases returns the aliases in force, by network and name.
func (e *Engine) Aliases() ([]AliasView, error) {
	views, err := e.AliasSelections()
	for i, v := range views {
		views[i].Members = e.members(v.Alias, "")
	}
	return views, err
}

// vipNames returns the names of an endpoint's aliases that have addresses, in
// lower case and once each.
func vipNames(n Network, ep Endpoint) []string {
	if n.AliasMode != AliasVIP {
		return nil
	}
	var names []string
	for _, alias := range ep.Aliases {
		if name := strings.ToLower(alias); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// holders returns the endpoints that have an alias, but for one, by address.
func (e *Engine) holders(a Alias, except string) []Endpoint {
	return slices.DeleteFunc(e.registry.endpointsOf(a.NetworkID), func(ep Endpoint) bool {
		return ep.ID == except || !slices.ContainsFunc(ep.Aliases, func(alias string) bool { return strings.EqualFold(alias, a.Name) })
	})
}

// members returns the holders that take new connections.
func (e *Engine) members(a Alias, except string) []Endpoint {
	return slices.DeleteFunc(e.holders(a, except), func(ep Endpoint) bool { return e.registry.isDrained(ep.ID) })
}

// aliasSteps let an endpoint take its turns; it must be ready to receive.
func (e *Engine) aliasSteps(n Network, ep *Endpoint) plan {
	var p plan
	for _, name := range vipNames(n, *ep) {
		p = append(p, step{
			name: "alias " + name,
			do:   func() error { return e.joinAlias(n, name) },
			undo: func() error { return e.leaveAlias(n, name, ep.ID) },
		})
	}
	return p
}

// joinAlias lets everybody who has the alias take turns, and makes it when it
// is new.
func (e *Engine) joinAlias(n Network, name string) error {
	a, ok := e.registry.findAlias(n.ID, name)
	if !ok {
		var err error
		if a, err = e.registry.addAlias(n, name); err != nil {
			return err
		}
	}
	return e.writeAlias(n, a)
}

// writeAlias tells the kernel of an alias, or repairs what it knows.
func (e *Engine) writeAlias(n Network, a Alias) error {
	for _, addr := range a.Addresses() {
		if err := e.devices.EnsureNeighbour(n.Bridge, addr, netdev.MACFor(a.Address)); err != nil {
			return err
		}
	}
	if err := e.datapath.SetRule(a.Rule, maps.Rule{Kind: maps.RuleAlias, Network: n.Index}); err != nil {
		return err
	}
	return e.writeMembers(n, a, e.members(a, ""))
}

func (e *Engine) writeMembers(n Network, a Alias, members []Endpoint) error {
	if len(members) > maps.MaxAliasMembers {
		return apierr.Conflict("network alias %s of network %s has %d members: the limit is %d", a.Name, n.Name, len(members), maps.MaxAliasMembers)
	}
	indexes := make([]uint32, 0, len(members))
	for _, ep := range members {
		indexes = append(indexes, ep.Index)
	}
	return e.datapath.SetAlias(a.Index, maps.Alias{Network: n.Index, Addr: a.Address, Addr6: a.Address6, Rule: a.Rule, Members: indexes})
}

// leaveAlias takes an endpoint out of the turn, and the alias away when nobody
// else has it.
func (e *Engine) leaveAlias(n Network, name, endpointID string) error {
	a, ok := e.registry.findAlias(n.ID, name)
	if !ok {
		return nil
	}
	if len(e.holders(a, endpointID)) > 0 {
		return e.writeMembers(n, a, e.members(a, endpointID))
	}
	return e.removeAlias(n, a)
}

func (e *Engine) removeAlias(n Network, a Alias) error {
	errs := []error{e.datapath.ClearAlias(a.Index, a.Addresses()...), e.datapath.ClearRule(a.Rule)}
	for _, addr := range a.Addresses() {
		errs = append(errs, e.devices.DeleteNeighbour(n.Bridge, addr))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove alias %s of network %s: %w", a.Name, n.Name, err)
	}
	e.disconnect(a.Addresses(), everyConnection)
	return e.registry.removeAlias(n, a)
}

// adoptAliases repairs the aliases, and takes those away that nobody has.
func (e *Engine) adoptAliases() error {
	var errs []error
	for _, a := range e.registry.allAliases() {
		n, err := e.registry.findNetwork(a.NetworkID)
		switch {
		case err != nil:
			errs = append(errs, err)
		case len(e.holders(a, "")) == 0:
			errs = append(errs, e.removeAlias(n, a))
		default:
			errs = append(errs, e.writeAlias(n, a))
		}
	}
	return errors.Join(errs...)
}

// DrainEndpoint takes an endpoint out of the turn of its aliases, or puts it
// back: its connections go on, and new ones go to others.
func (e *Engine) DrainEndpoint(id string, drain bool) error {
	e.verb.Lock()
	defer e.verb.Unlock()
	ep, n, err := e.endpointAndNetwork(id)
	if err != nil {
		return err
	}
	e.registry.setDrained(id, drain)
	var errs []error
	for _, name := range vipNames(n, ep) {
		if a, ok := e.registry.findAlias(n.ID, name); ok {
			errs = append(errs, e.writeMembers(n, a, e.members(a, "")))
		}
	}
	return errors.Join(errs...)
}
