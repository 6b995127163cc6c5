package maps

import (
	"fmt"

	"github.com/sluice-net/sluice/internal/datapath"
)

// SetNetwork writes a network and the subnets that lead to it.
func (m *Maps) SetNetwork(index uint16, n Network) error {
	value := datapath.Network{
		Ifindex:  n.Bridge,
		Rule:     n.Rule,
		Subnet4:  raw4(n.Subnet.Masked().Addr()),
		Mask4:    mask4(n.Subnet),
		Gateway4: raw4(n.Gateway),
		Subnet6:  raw6(n.Subnet6.Masked().Addr()),
		Mask6:    mask6(n.Subnet6),
		Gateway6: raw6(n.Gateway6),
	}
	copy(value.Mac[:], n.MAC)
	if err := m.put("networks", uint32(index), value); err != nil {
		return err
	}
	if err := m.put("subnets4", subnetKey4(value), uint32(index)); err != nil {
		return err
	}
	if n.Subnet6.IsValid() {
		return m.put("subnets6", subnetKey6(value), uint32(index))
	}
	return nil
}

// ClearNetwork takes a network and its subnets away.
func (m *Maps) ClearNetwork(index uint16) error {
	var old datapath.Network
	if err := m.byName["networks"].Lookup(uint32(index), &old); err != nil {
		return fmt.Errorf("read network %d: %w", index, err)
	}
	if old.Mask4 != 0 {
		if err := m.delete("subnets4", subnetKey4(old)); err != nil {
			return err
		}
	}
	if has6(old) {
		if err := m.delete("subnets6", subnetKey6(old)); err != nil {
			return err
		}
	}
	return m.put("networks", uint32(index), datapath.Network{})
}

func has6(n datapath.Network) bool { return n.Mask6 != datapath.Addr6{} }

// subnetKey4 and subnetKey6 lead to a network.
func subnetKey4(n datapath.Network) datapath.SubnetKey4 {
	return datapath.SubnetKey4{PrefixLen: prefixLength(n.Mask4), Addr: n.Subnet4}
}

func subnetKey6(n datapath.Network) datapath.SubnetKey6 {
	return datapath.SubnetKey6{PrefixLen: prefixLength6(n.Mask6), Addr: n.Subnet6}
}
