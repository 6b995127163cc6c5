package maps

import (
	"fmt"
	"math/bits"

	"github.com/sluice-net/sluice/internal/datapath"
)

// prefixLength is the number of ones in a netmask, whatever its byte order.
func prefixLength(mask uint32) uint32 { return uint32(bits.OnesCount32(mask)) }

// prefixLength6 is the number of ones in a netmask of IPv6.
func prefixLength6(mask datapath.Addr6) (length uint32) {
	for _, b := range mask.Bytes {
		length += uint32(bits.OnesCount8(b))
	}
	return length
}

// SetEndpoint writes an endpoint and the device and addresses that lead to it.
// The index keeps its generation, so that flows go on.
func (m *Maps) SetEndpoint(index uint32, e Endpoint) error {
	old, err := m.endpoint(index)
	if err != nil {
		return err
	}
	value := datapath.Endpoint{
		Generation: old.Generation,
		Ifindex:    e.Ifindex,
		Addr4:      raw4(e.Addr),
		Addr6:      raw6(e.Addr6),
		Network:    e.Network,
	}
	copy(value.Mac[:], e.MAC)
	if e.Translated {
		value.Flags |= datapath.EndpointTranslated
	}
	if e.Ready {
		value.Flags |= datapath.EndpointReady
	}
	if e.Final {
		value.Flags |= datapath.EndpointFinal
	}
	if err := m.put("endpoints", index, value); err != nil {
		return err
	}
	if err := m.put("devices", value.Ifindex, index); err != nil {
		return err
	}
	if err := m.put("endpoints4", value.Addr4, index); err != nil {
		return err
	}
	if e.Addr6.IsValid() {
		if err := m.put("endpoints6", value.Addr6, index); err != nil {
			return err
		}
	}
	return m.forget(index, old, value)
}

// ClearEndpoint takes an endpoint away and raises the generation of its index:
// every flow that knows the old one ends with its next packet.
func (m *Maps) ClearEndpoint(index uint32) error {
	old, err := m.endpoint(index)
	if err != nil {
		return err
	}
	gone := datapath.Endpoint{Generation: old.Generation + 1}
	if err := m.put("endpoints", index, gone); err != nil {
		return err
	}
	return m.forget(index, old, gone)
}

func (m *Maps) endpoint(index uint32) (datapath.Endpoint, error) {
	var e datapath.Endpoint
	if err := m.byName["endpoints"].Lookup(index, &e); err != nil {
		return e, fmt.Errorf("read endpoint %d: %w", index, err)
	}
	return e, nil
}

// forget removes the device and addresses of old that now does not have and
// that nobody else has taken meanwhile.
func (m *Maps) forget(index uint32, old, now datapath.Endpoint) error {
	if old.Ifindex != now.Ifindex {
		if err := m.deleteOwned("devices", old.Ifindex, index); err != nil {
			return err
		}
	}
	if old.Addr4 != now.Addr4 {
		if err := m.deleteOwned("endpoints4", old.Addr4, index); err != nil {
			return err
		}
	}
	if old.Addr6 != now.Addr6 {
		return m.deleteOwned("endpoints6", old.Addr6, index)
	}
	return nil
}

// deleteOwned removes key while it leads to index.
func (m *Maps) deleteOwned(name string, key any, index uint32) error {
	var owner uint32
	if err := m.byName[name].Lookup(key, &owner); err != nil || owner != index {
		return nil //nolint:nilerr // not there: nothing to remove
	}
	return m.delete(name, key)
}
