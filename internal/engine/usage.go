package engine

import (
	"net/netip"

	"github.com/sluice-net/sluice/internal/ipam"
	"github.com/sluice-net/sluice/internal/store"
)

// AddressUse is what has become of the addresses of one of a network's subnets.
type AddressUse struct {
	Network  Network
	Subnet   netip.Prefix
	Reserved int // those that no endpoint gets: see ipam.Reserved
	Used     int // of endpoints and aliases
	Free     int // Countless where nobody will ever count them
}

// Countless are the free addresses of a subnet with more than 2^32: it does not
// fill up.
const Countless = -1

// AddressUse returns the use of every bridge network's addresses, by the
// networks' names and the IPv4 subnet first. It waits for no verb.
func (e *Engine) AddressUse() ([]AddressUse, error) {
	taken, err := e.registry.takenAddresses()
	if err != nil {
		return nil, err
	}
	var uses []AddressUse
	for _, n := range e.registry.allNetworks() {
		count := taken[n.ID]
		if count.IPv4 == 0 {
			continue // without addresses, or made or removed meanwhile
		}
		uses = append(uses, addressUse(n, n.Subnet, count.IPv4))
		if n.HasIPv6() {
			uses = append(uses, addressUse(n, n.Subnet6, count.IPv6))
		}
	}
	return uses, nil
}

func addressUse(n Network, subnet netip.Prefix, taken int) AddressUse {
	reserved := ipam.Reserved(subnet)
	use := AddressUse{Network: n, Subnet: subnet, Reserved: reserved, Used: taken - reserved, Free: Countless}
	if bits := subnet.Addr().BitLen() - subnet.Bits(); bits <= 32 {
		use.Free = 1<<bits - taken
	}
	return use
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
