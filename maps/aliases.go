package maps

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
)

// MaxAliasMembers is how many members of an alias take connections.
const MaxAliasMembers = datapath.MaxAliasMembers

// Alias is an address of a network, or one per family, behind which members take
// connections in turn.
type Alias struct {
	Network uint16 // index
	Addr    netip.Addr
	Addr6   netip.Addr // zero without IPv6
	Rule    uint32     // what counts its connections
	Members []uint32   // endpoints' indexes, in the order of their turns; at most MaxAliasMembers
}

// SetAlias replaces an alias and its members at once, per family. The turn goes
// on where it was.
func (m *Maps) SetAlias(index uint32, a Alias) error {
	if len(a.Members) > MaxAliasMembers {
		return fmt.Errorf("alias %d has %d members: the limit is %d", index, len(a.Members), MaxAliasMembers)
	}
	value := datapath.Vip{Alias: index, Rule: a.Rule, Network: a.Network, Count: uint16(len(a.Members))}
	copy(value.Members[:], a.Members)
	if err := m.put("vips4", raw4(a.Addr), &value); err != nil {
		return err
	}
	if a.Addr6.IsValid() {
		return m.put("vips6", raw6(a.Addr6), &value)
	}
	return nil
}

// ClearAlias takes an alias away that had the addresses; its turn begins anew.
// Flows to its members go on until its rule is cleared.
func (m *Maps) ClearAlias(index uint32, addrs ...netip.Addr) error {
	for _, addr := range addrs {
		name, key := "vips4", any(raw4(addr))
		if addr.Is6() {
			name, key = "vips6", raw6(addr)
		}
		if err := m.deleteVIP(name, key, index); err != nil {
			return err
		}
	}
	return m.put("alias_turns", index, datapath.Turns{})
}

// deleteVIP removes key while it belongs to the alias.
func (m *Maps) deleteVIP(name string, key any, index uint32) error {
	var value datapath.Vip
	err := m.byName[name].Lookup(key, &value)
	if errors.Is(err, ebpf.ErrKeyNotExist) || err == nil && value.Alias != index {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read alias %d: %w", index, err)
	}
	return m.delete(name, key)
}

// AliasSelections returns how many connections an alias has handed out, of both
// families.
func (m *Maps) AliasSelections(index uint32) (uint64, error) {
	var turns datapath.Turns
	if err := m.byName["alias_turns"].Lookup(index, &turns); err != nil {
		return 0, fmt.Errorf("read the turns of alias %d: %w", index, err)
	}
	return turns.Turn4 + turns.Turn6, nil
}
