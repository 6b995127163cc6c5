package datapath_test

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
)

func wire32(addr netip.Addr) uint32 {
	raw := addr.As4()
	return binary.NativeEndian.Uint32(raw[:])
}

func addr4(raw uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.NativeEndian.AppendUint32(nil, raw)))
}

func wire128(addr netip.Addr) datapath.Addr6 { return datapath.Addr6{Bytes: addr.As16()} }

func addr6(raw datapath.Addr6) netip.Addr { return netip.AddrFrom16(raw.Bytes) }

// wire16 is a port in network byte order, or back from it.
func wire16(port uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port))
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func rawKey4(k model.Key) datapath.FlowKey4 {
	return datapath.FlowKey4{
		Src: wire32(k.Src), Dst: wire32(k.Dst), Sport: wire16(k.Sport), Dport: wire16(k.Dport),
		Zone: k.Zone, Protocol: k.Protocol, EchoReply: bit(k.EchoReply),
	}
}

func rawKey6(k model.Key) datapath.FlowKey6 {
	return datapath.FlowKey6{
		Src: wire128(k.Src), Dst: wire128(k.Dst), Sport: wire16(k.Sport), Dport: wire16(k.Dport),
		Zone: k.Zone, Protocol: k.Protocol, EchoReply: bit(k.EchoReply),
	}
}

func modelHalf4(k datapath.FlowKey4, v datapath.Flow4) (model.Key, model.Half) {
	key := model.Key{
		Src: addr4(k.Src), Dst: addr4(k.Dst), Sport: wire16(k.Sport), Dport: wire16(k.Dport),
		Zone: k.Zone, Protocol: k.Protocol, EchoReply: k.EchoReply == 1,
	}
	to := model.Key{
		Src: addr4(v.Src), Dst: addr4(v.Dst), Sport: wire16(v.Sport), Dport: wire16(v.Dport),
		Protocol: key.Protocol, EchoReply: key.EchoReply,
	}
	return key, model.Half{Head: v.Head, To: to}
}

func modelHalf6(k datapath.FlowKey6, v datapath.Flow6) (model.Key, model.Half) {
	key := model.Key{
		Src: addr6(k.Src), Dst: addr6(k.Dst), Sport: wire16(k.Sport), Dport: wire16(k.Dport),
		Zone: k.Zone, Protocol: k.Protocol, EchoReply: k.EchoReply == 1,
	}
	to := model.Key{
		Src: addr6(v.Src), Dst: addr6(v.Dst), Sport: wire16(v.Sport), Dport: wire16(v.Dport),
		Protocol: key.Protocol, EchoReply: key.EchoReply,
	}
	return key, model.Half{Head: v.Head, To: to}
}

// conntrackTables are those that hold halves of flows: of young ones, and of
// those that have proved themselves.
var conntrackTables = []string{"nursery", "flows"}

// halves are those of all flows, of both families and wherever they are kept.
// Whether a flow has lived long enough for a move depends on the machine's
// speed: the mark is left out.
func (f *fixture) halves() conntrack {
	f.t.Helper()
	all := conntrack{}
	for _, name := range conntrackTables {
		for key, half := range f.tier(name) {
			half.Head.State &^= flowTenured
			all[key] = half
		}
	}
	return all
}

// tier returns the halves in one of the conntrack tables, as they are.
func (f *fixture) tier(name string) conntrack {
	f.t.Helper()
	all := conntrack{}
	if name == "flows" {
		addHalves(all, tenured4(f).read(), modelHalf4)
		addHalves(all, tenured6(f).read(), modelHalf6)
	} else {
		addHalves(all, batch[datapath.FlowKey4, datapath.Flow4](f, name+"4"), modelHalf4)
		addHalves(all, batch[datapath.FlowKey6, datapath.Flow6](f, name+"6"), modelHalf6)
	}
	return all
}

// tierOf names the conntrack table that a half is in.
func (f *fixture) tierOf(key model.Key) string {
	f.t.Helper()
	if _, ok := f.tier("flows")[key]; ok {
		return "flows"
	}
	return "nursery"
}

func addHalves[K comparable, V any](all conntrack, table map[K]V, half func(K, V) (model.Key, model.Half)) {
	for key, value := range table {
		key, half := half(key, value)
		all[key] = half
	}
}

// batch reads a table, with a system call for each few entries.
func batch[K comparable, V any](f *fixture, table string) map[K]V {
	f.t.Helper()
	all, entries, end := map[K]V{}, f.loader.Maps()[table], false
	keys, values := make([]K, 256), make([]V, 256)
	for cursor := new(ebpf.MapBatchCursor); !end; {
		n, err := entries.BatchLookup(cursor, keys, values, nil)
		if end = errors.Is(err, ebpf.ErrKeyNotExist); !end {
			must(f.t, err)
		}
		for i := range n {
			all[keys[i]] = values[i]
		}
	}
	return all
}

// write puts an entry into a map.
func (f *fixture) write(table string, key, value any) {
	f.t.Helper()
	must(f.t, f.loader.Maps()[table].Put(key, value))
}

// writeHalf puts a half into its family's table of a tier.
func (f *fixture) writeHalf(tier string, key model.Key, h model.Half) {
	f.t.Helper()
	f.writeHalves(tier, conntrack{key: h})
}

// writeHalves puts halves into their families' tables of a tier.
func (f *fixture) writeHalves(tier string, halves conntrack) {
	f.t.Helper()
	flows4, flows6 := map[datapath.FlowKey4]datapath.Flow4{}, map[datapath.FlowKey6]datapath.Flow6{}
	for key, h := range halves {
		if key.Src.Is4() {
			flows4[rawKey4(key)] = datapath.Flow4{
				Head: h.Head, Src: wire32(h.To.Src), Dst: wire32(h.To.Dst), Sport: wire16(h.To.Sport), Dport: wire16(h.To.Dport),
			}
		} else {
			flows6[rawKey6(key)] = datapath.Flow6{
				Head: h.Head, Src: wire128(h.To.Src), Dst: wire128(h.To.Dst), Sport: wire16(h.To.Sport), Dport: wire16(h.To.Dport),
			}
		}
	}
	if tier == "flows" {
		tenured4(f).write(flows4)
		tenured6(f).write(flows6)
		return
	}
	writeBatch(f, tier+"4", flows4)
	writeBatch(f, tier+"6", flows6)
}

// writeBatch puts entries into a table by one system call.
func writeBatch[K comparable, V any](f *fixture, table string, entries map[K]V) {
	f.t.Helper()
	if len(entries) == 0 {
		return
	}
	var keys []K
	var values []V
	for key, value := range entries {
		keys, values = append(keys, key), append(values, value)
	}
	_, err := f.loader.Maps()[table].BatchUpdate(keys, values, nil)
	must(f.t, err)
}

// evict takes a half out of the tables, as full ones do, if it is there.
func (f *fixture) evict(key model.Key) {
	f.t.Helper()
	var err error
	if key.Src.Is4() {
		tenured4(f).erase(rawKey4(key))
		err = f.loader.Maps()["nursery4"].Delete(rawKey4(key))
	} else {
		tenured6(f).erase(rawKey6(key))
		err = f.loader.Maps()["nursery6"].Delete(rawKey6(key))
	}
	if !errors.Is(err, ebpf.ErrKeyNotExist) {
		must(f.t, err)
	}
}

func (f *fixture) evictAll() {
	f.t.Helper()
	for key := range f.halves() {
		f.evict(key)
	}
}
