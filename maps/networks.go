package maps

import (
	"fmt"

	"github.com/sluice-net/sluice/internal/datapath"
)

// SetNetwork writes a network and the subnet that leads to it.
func (m *Maps) SetNetwork(index uint16, n Network) error {
	value := datapath.Network{
		Ifindex:  n.Bridge,
		Rule:     n.Rule,
		Subnet4:  raw4(n.Subnet.Masked().Addr()),
		Mask4:    mask4(n.Subnet),
		Gateway4: raw4(n.Gateway),
	}
	copy(value.Mac[:], n.MAC)
	if err := m.put("networks", uint32(index), value); err != nil {
		return err
	}
	key := datapath.SubnetKey4{PrefixLen: uint32(n.Subnet.Bits()), Addr: value.Subnet4}
	return m.put("subnets4", key, uint32(index))
}

// ClearNetwork takes a network and its subnet away.
func (m *Maps) ClearNetwork(index uint16) error {
	var old datapath.Network
	if err := m.byName["networks"].Lookup(uint32(index), &old); err != nil {
		return fmt.Errorf("read network %d: %w", index, err)
	}
	if old.Mask4 != 0 {
		key := datapath.SubnetKey4{PrefixLen: prefixLength(old.Mask4), Addr: old.Subnet4}
		if err := m.delete("subnets4", key); err != nil {
			return err
		}
	}
	return m.put("networks", uint32(index), datapath.Network{})
}
