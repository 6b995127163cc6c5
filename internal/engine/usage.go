package engine

import (
	"github.com/sluice-net/sluice/internal/ipam"
	"github.com/sluice-net/sluice/internal/store"
)

// AddressUse is what has become of the addresses of a network's subnet.
type AddressUse struct {
	Network  Network
	Reserved int // the network's own, the broadcast and the gateway's address
	Used     int // of endpoints and aliases
	Free     int
}

// AddressUse returns the use of every bridge network's addresses, by the
// networks' names. It waits for no verb.
func (e *Engine) AddressUse() ([]AddressUse, error) {
	taken, err := e.registry.takenAddresses()
	if err != nil {
		return nil, err
	}
	var uses []AddressUse
	for _, n := range e.registry.allNetworks() {
		count := taken[n.ID].IPv4
		if n.Driver != DriverBridge || count == 0 {
			continue // without addresses, or made or removed meanwhile
		}
		reserved := ipam.Reserved(n.Subnet)
		uses = append(uses, AddressUse{
			Network:  n,
			Reserved: reserved,
			Used:     count - reserved,
			Free:     1<<(32-n.Subnet.Bits()) - count,
		})
	}
	return uses, nil
}

// takenAddresses counts each network's addresses that are not free.
func (r *registry) takenAddresses() (taken map[string]ipam.Count, err error) {
	err = r.db.View(func(tx *store.Tx) error {
		taken, err = ipam.Taken(tx)
		return err
	})
	return taken, err
}

// AliasSelections returns the aliases in force and how many connections each
// has handed out, by network and name. It leaves the members out: finding them
// takes long where there are many.
func (e *Engine) AliasSelections() ([]AliasView, error) {
	networks := e.registry.networksByID()
	var views []AliasView
	for _, a := range e.registry.allAliases() {
		n, ok := networks[a.NetworkID]
		if !ok {
			continue // removed meanwhile
		}
		selections, err := e.datapath.AliasSelections(a.Index)
		if err != nil {
			return nil, err
		}
		views = append(views, AliasView{Alias: a, Network: n, Selections: selections})
	}
	return views, nil
}
