package maps

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"

	"github.com/sluice-net/sluice/internal/datapath"
)

// flowTables are the tables that hold halves of flows. A flow's halves may be in
// any of those of their family.
var flowTables = []flowTable{
	flowTableOf("flows4", 4, eachTenured, protocol4, half4),
	flowTableOf("flows6", 6, eachTenured, protocol6, half6),
	flowTableOf("nursery4", 4, eachYoung, protocol4, half4),
	flowTableOf("nursery6", 6, eachYoung, protocol6, half6),
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
	// protocols calls visit for each entry, and halves with all there is in it.
	protocols func(m *Maps, visit func(protocol uint8)) error
	halves    func(m *Maps, visit func(half)) error
}

// flowTableOf makes one whose entries walk visits.
func flowTableOf[K, V any](
	name string, family int, walk func(m *Maps, name string, visit func(*K, *V)) error, protocol func(*K) uint8, decode func(*K, *V) half,
) flowTable {
	return flowTable{
		name:   name,
		family: family,
		protocols: func(m *Maps, visit func(uint8)) error {
			return walk(m, name, func(k *K, _ *V) { visit(protocol(k)) })
		},
		halves: func(m *Maps, visit func(half)) error {
			return walk(m, name, func(k *K, v *V) { visit(decode(k, v)) })
		},
	}
}

func eachTenured[K, V any](m *Maps, name string, visit func(*K, *V)) error {
	err := m.tenured[name].Each(func(key, half []byte) error {
		// Aligned as the batch is: entries have a multiple of eight bytes, and so have halves.
		visit((*K)(unsafe.Pointer(unsafe.SliceData(key))), (*V)(unsafe.Pointer(unsafe.SliceData(half))))
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func eachYoung[K, V any](m *Maps, name string, visit func(*K, *V)) error {
	table := m.byName[name]
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

func protocol4(k *datapath.FlowKey4) uint8 { return k.Protocol }

func protocol6(k *datapath.FlowKey6) uint8 { return k.Protocol }

func half4(k *datapath.FlowKey4, v *datapath.Flow4) half {
	return half{
		key: halfKey{
			src: addrPort(addr4(k.Src), k.Sport), dst: addrPort(addr4(k.Dst), k.Dport),
			zone: k.Zone, protocol: k.Protocol, echoReply: k.EchoReply != 0,
		},
		head: v.Head,
		src:  addrPort(addr4(v.Src), v.Sport), dst: addrPort(addr4(v.Dst), v.Dport),
	}
}

func half6(k *datapath.FlowKey6, v *datapath.Flow6) half {
	return half{
		key: halfKey{
			src: addrPort(addr6(k.Src), k.Sport), dst: addrPort(addr6(k.Dst), k.Dport),
			zone: k.Zone, protocol: k.Protocol, echoReply: k.EchoReply != 0,
		},
		head: v.Head,
		src:  addrPort(addr6(v.Src), v.Sport), dst: addrPort(addr6(v.Dst), v.Dport),
	}
}

// table is the name of the tenured table for a key.
func (k halfKey) table() string {
	if k.src.Addr().Is4() {
		return "flows4"
	}
	return "flows6"
}

// wire is the key as maps have it.
func (k halfKey) wire() ([]byte, error) {
	if k.src.Addr().Is4() {
		return binary.Append(nil, binary.NativeEndian, datapath.FlowKey4{
			Src: raw4(k.src.Addr()), Dst: raw4(k.dst.Addr()), Sport: rawPort(k.src), Dport: rawPort(k.dst),
			Zone: k.zone, Protocol: k.protocol, EchoReply: bit(k.echoReply),
		})
	}
	return binary.Append(nil, binary.NativeEndian, datapath.FlowKey6{
		Src: raw6(k.src.Addr()), Dst: raw6(k.dst.Addr()), Sport: rawPort(k.src), Dport: rawPort(k.dst),
		Zone: k.zone, Protocol: k.protocol, EchoReply: bit(k.echoReply),
	})
}

// deleteHalf removes a half from every table of its family, and reports whether
// one had it.
func (m *Maps) deleteHalf(key halfKey) (deleted bool, err error) {
	raw, err := key.wire()
	if err != nil {
		return false, err
	}
	return m.tenured[key.table()].Erase(raw)
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
