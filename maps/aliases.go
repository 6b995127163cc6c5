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

// Alias is an address of a network behind which members take connections in
// turn.
type Alias struct {
	Network uint16 // index
	Addr    netip.Addr
	Rule    uint32   // what counts its connections
	Members []uint32 // endpoints' indexes, in the order of their turns; at most MaxAliasMembers
}

// SetAlias replaces an alias and its members at once. The turn goes on where
// it was.
func (m *Maps) SetAlias(index uint32, a Alias) error {
	if len(a.Members) > MaxAliasMembers {
		return fmt.Errorf("alias %d has %d members: the limit is %d", index, len(a.Members), MaxAliasMembers)
	}
	value := datapath.Vip{Alias: index, Rule: a.Rule, Network: a.Network, Count: uint16(len(a.Members))}
	copy(value.Members[:], a.Members)
	return m.put("vips4", raw4(a.Addr), &value)
}

// ClearAlias takes an alias away; its turn begins anew. Flows to its members
// go on until its rule is cleared.
func (m *Maps) ClearAlias(index uint32, addr netip.Addr) error {
	var value datapath.Vip
	err := m.byName["vips4"].Lookup(raw4(addr), &value)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("read alias %d: %w", index, err)
	}
	if err == nil && value.Alias == index {
		if err := m.delete("vips4", raw4(addr)); err != nil {
			return err
		}
	}
	return m.put("alias_turns", index, datapath.Turns{})
}

// AliasSelections returns how many connections an alias has handed out.
func (m *Maps) AliasSelections(index uint32) (uint64, error) {
	var turns datapath.Turns
	if err := m.byName["alias_turns"].Lookup(index, &turns); err != nil {
		return 0, fmt.Errorf("read the turns of alias %d: %w", index, err)
	}
	return turns.Turn4 + turns.Turn6, nil
}
