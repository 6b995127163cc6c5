package engine

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/ipam"
	"github.com/sluice-net/sluice/internal/store"
)

// aliasKey is an alias's key in the store and in memory.
func aliasKey(networkID, name string) string { return networkID + "/" + strings.ToLower(name) }

func (r *registry) loadAlias(key string, raw []byte) error {
	var a Alias
	if err := store.Decode(raw, &a); err != nil {
		return fmt.Errorf("alias %s: %w", key, err)
	}
	if err := r.aliasIndexes.takeStored(a.Index); err != nil {
		return err
	}
	if err := r.ruleIndexes.takeStored(a.Rule); err != nil {
		return err
	}
	r.aliases[key] = a
	return nil
}

func (r *registry) findAlias(networkID, name string) (Alias, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	a, ok := r.aliases[aliasKey(networkID, name)]
	return a, ok
}

// allAliases returns the aliases by network and name.
func (r *registry) allAliases() []Alias {
	r.mu.RLock()
	defer r.mu.RUnlock()
	aliases := make([]Alias, 0, len(r.aliases))
	for _, a := range r.aliases {
		aliases = append(aliases, a)
	}
	slices.SortFunc(aliases, func(a, b Alias) int {
		return cmp.Or(strings.Compare(a.NetworkID, b.NetworkID), strings.Compare(a.Name, b.Name))
	})
	return aliases
}

// addAlias records an alias and takes its numbers and an address of each subnet.
// That lies at the end of the subnet, out of the way of endpoints, and follows
// from the name, so that an alias that comes back most likely has its old one.
func (r *registry) addAlias(n Network, name string) (Alias, error) {
	index, err := r.aliasIndexes.free(1)
	if err != nil {
		return Alias{}, err
	}
	rule, err := r.ruleIndexes.free(1)
	if err != nil {
		return Alias{}, err
	}
	a := Alias{NetworkID: n.ID, Name: strings.ToLower(name), Index: index[0], Rule: rule[0]}
	key := aliasKey(n.ID, name)
	err = r.db.Update(func(tx *store.Tx) (err error) {
		if a.Address, err = allocateHigh(tx, n, n.Subnet, a.Name); err != nil {
			return err
		}
		if n.HasIPv6() {
			if a.Address6, err = allocateHigh(tx, n, n.Subnet6, a.Name); err != nil {
				return err
			}
		}
		return tx.Put(aliasBucket, key, a)
	})
	if err != nil {
		return a, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.aliasIndexes.take(a.Index)
	r.ruleIndexes.take(a.Rule)
	r.aliases[key] = a
	return a, nil
}

// allocateHigh takes an address for an alias.
func allocateHigh(tx *store.Tx, n Network, subnet netip.Prefix, name string) (netip.Addr, error) {
	hash := fnv.New32a()
	hash.Write([]byte(name))
	addr, err := ipam.AllocateHigh(tx, n.ID, subnet, hash.Sum32())
	if errors.Is(err, ipam.ErrExhausted) {
		return addr, apierr.Conflict("no available %s addresses in the subnet %s of network %s for the alias %s", familyOf(subnet), subnet, n.Name, name)
	}
	return addr, err
}

// removeAlias forgets the alias and gives its numbers and its addresses back.
func (r *registry) removeAlias(n Network, a Alias) error {
	key := aliasKey(a.NetworkID, a.Name)
	err := r.db.Update(func(tx *store.Tx) error {
		if err := release(tx, n, a.Address, a.Address6); err != nil {
			return err
		}
		return tx.Delete(aliasBucket, key)
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.aliasIndexes.release(a.Index)
	r.ruleIndexes.release(a.Rule)
	delete(r.aliases, key)
	return nil
}

// setDrained notes whether an endpoint takes no new connections of its
// aliases. A daemon that comes back has forgotten it: whoever was stopping the
// endpoint is gone too.
func (r *registry) setDrained(id string, drained bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if drained {
		r.drained[id] = true
	} else {
		delete(r.drained, id)
	}
}

func (r *registry) isDrained(id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.drained[id]
}
