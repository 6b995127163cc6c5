package maps

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
)

// flowTables are the tables that hold halves of flows. A flow's halves may be in
// any of those of their family.
var flowTables = []flowTable{
	flowTable4("flows4"),
	flowTable6("flows6"),
	flowTable4("nursery4"),
	flowTable6("nursery6"),
}

// halfKey is what packets of a half look like before translation.
type halfKey struct {
	src, dst  netip.AddrPort
	zone      uint16
	protocol  uint8
	echoReply bool
}

// half is an entry of a flow table: its packets become src and dst.
type half struct {
	key      halfKey
	head     datapath.FlowHead
	src, dst netip.AddrPort
}

// flowTable is a conntrack table of one family.
type flowTable struct {
	name   string
	family int // 4 or 6
	// protocols calls visit for each entry, halves with all there is in it, and
	// wire is the entry's key as the map has it.
	protocols func(table *ebpf.Map, visit func(protocol uint8)) error
	halves    func(table *ebpf.Map, visit func(half)) error
	wire      func(key halfKey) any
}

func flowTable4(name string) flowTable {
	return flowTableOf(name, 4,
		func(k *datapath.FlowKey4) uint8 { return k.Protocol },
		func(k *datapath.FlowKey4, v *datapath.Flow4) half {
			return half{
				key: halfKey{
					src: addrPort(addr4(k.Src), k.Sport), dst: addrPort(addr4(k.Dst), k.Dport),
					zone: k.Zone, protocol: k.Protocol, echoReply: k.EchoReply != 0,
				},
				head: v.Head,
				src:  addrPort(addr4(v.Src), v.Sport), dst: addrPort(addr4(v.Dst), v.Dport),
			}
		},
		func(k halfKey) datapath.FlowKey4 {
			return datapath.FlowKey4{
				Src: raw4(k.src.Addr()), Dst: raw4(k.dst.Addr()), Sport: rawPort(k.src), Dport: rawPort(k.dst),
				Zone: k.zone, Protocol: k.protocol, EchoReply: bit(k.echoReply),
			}
		})
}

func flowTable6(name string) flowTable {
	return flowTableOf(name, 6,
		func(k *datapath.FlowKey6) uint8 { return k.Protocol },
		func(k *datapath.FlowKey6, v *datapath.Flow6) half {
			return half{
				key: halfKey{
					src: addrPort(addr6(k.Src), k.Sport), dst: addrPort(addr6(k.Dst), k.Dport),
					zone: k.Zone, protocol: k.Protocol, echoReply: k.EchoReply != 0,
				},
				head: v.Head,
				src:  addrPort(addr6(v.Src), v.Sport), dst: addrPort(addr6(v.Dst), v.Dport),
			}
		},
		func(k halfKey) datapath.FlowKey6 {
			return datapath.FlowKey6{
				Src: raw6(k.src.Addr()), Dst: raw6(k.dst.Addr()), Sport: rawPort(k.src), Dport: rawPort(k.dst),
				Zone: k.zone, Protocol: k.protocol, EchoReply: bit(k.echoReply),
			}
		})
}

func flowTableOf[K, V any](name string, family int, protocol func(*K) uint8, decode func(*K, *V) half, encode func(halfKey) K) flowTable {
	each := func(table *ebpf.Map, visit func(*K, *V)) error {
		keys := make([]K, batchSize(table))
		values := make([]V, len(keys))
		err := eachBatch(table, keys, values, func(found int) {
			for i := range found {
				visit(&keys[i], &values[i])
			}
		})
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		return nil
	}
	return flowTable{
		name:   name,
		family: family,
		protocols: func(table *ebpf.Map, visit func(uint8)) error {
			return each(table, func(k *K, _ *V) { visit(protocol(k)) })
		},
		halves: func(table *ebpf.Map, visit func(half)) error {
			return each(table, func(k *K, v *V) { visit(decode(k, v)) })
		},
		wire: func(key halfKey) any { return encode(key) },
	}
}

// deleteHalf removes a half from every table of its family, and reports whether
// one had it.
func (m *Maps) deleteHalf(key halfKey) (deleted bool, err error) {
	family := 6
	if key.src.Addr().Is4() {
		family = 4
	}
	for _, t := range flowTables {
		if t.family != family {
			continue
		}
		switch err := m.byName[t.name].Delete(t.wire(key)); {
		case err == nil:
			deleted = true
		case !errors.Is(err, ebpf.ErrKeyNotExist):
			return deleted, fmt.Errorf("delete from %s: %w", t.name, err)
		}
	}
	return deleted, nil
}

// addrPort is an address with a port in network byte order.
func addrPort(addr netip.Addr, port uint16) netip.AddrPort {
	var bytes [2]byte
	binary.NativeEndian.PutUint16(bytes[:], port)
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(bytes[:]))
}

// rawPort is a port in network byte order.
func rawPort(a netip.AddrPort) uint16 {
	var bytes [2]byte
	binary.BigEndian.PutUint16(bytes[:], a.Port())
	return binary.NativeEndian.Uint16(bytes[:])
}

func bit(set bool) uint8 {
	if set {
		return 1
	}
	return 0
}
