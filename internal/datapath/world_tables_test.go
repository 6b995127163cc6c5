package datapath_test

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
)

// halves are those of all flows, of both families and both tiers.
func (w *world) halves() map[model.Key]model.Half {
	w.t.Helper()
	all := map[model.Key]model.Half{}
	for _, table := range []string{"nursery", "flows"} {
		add := func(k model.Key, half model.Half) {
			if _, both := all[k]; both {
				w.t.Errorf("%+v is in both tables", k)
			}
			half.Tenured = table == "flows"
			all[k] = half
		}
		for key, flow := range batch[datapath.FlowKey4, datapath.Flow4](w, table+"4") {
			k := modelKey(key.Zone, key.Protocol, key.EchoReply, addr4(key.Src), addr4(key.Dst), key.Sport, key.Dport)
			add(k, modelHalf(k, flow.Head, addr4(flow.Src), addr4(flow.Dst), flow.Sport, flow.Dport))
		}
		for key, flow := range batch[datapath.FlowKey6, datapath.Flow6](w, table+"6") {
			k := modelKey(key.Zone, key.Protocol, key.EchoReply, addr6(key.Src), addr6(key.Dst), key.Sport, key.Dport)
			add(k, modelHalf(k, flow.Head, addr6(flow.Src), addr6(flow.Dst), flow.Sport, flow.Dport))
		}
	}
	return all
}

// batch reads a small table in one system call.
func batch[K comparable, V any](w *world, table string) map[K]V {
	w.t.Helper()
	m := w.loader.Maps()[table]
	keys, values := make([]K, m.MaxEntries()), make([]V, m.MaxEntries())
	var cursor ebpf.MapBatchCursor
	n, err := m.BatchLookup(&cursor, keys, values, nil)
	if !errors.Is(err, ebpf.ErrKeyNotExist) {
		w.t.Fatalf("read %s: %v", table, err)
	}
	all := make(map[K]V, n)
	for i := range n {
		all[keys[i]] = values[i]
	}
	return all
}

func addr4(raw uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.NativeEndian.AppendUint32(nil, raw)))
}

func addr6(raw datapath.Addr6) netip.Addr { return netip.AddrFrom16(raw.Bytes) }

func modelKey(zone uint16, protocol, reply uint8, src, dst netip.Addr, sport, dport uint16) model.Key {
	return model.Key{
		Src: src, Dst: dst, Sport: wire16(sport), Dport: wire16(dport), Zone: zone, Protocol: protocol, EchoReply: reply == 1,
	}
}

func modelHalf(k model.Key, head datapath.FlowHead, src, dst netip.Addr, sport, dport uint16) model.Half {
	return model.Half{Head: head, To: model.Key{
		Src: src, Dst: dst, Sport: wire16(sport), Dport: wire16(dport), Protocol: k.Protocol, EchoReply: k.EchoReply,
	}}
}

// rawKey is a key as the datapath has it, and the tables where it may be.
func rawKey(k model.Key) (key any, tables [2]string) {
	reply := uint8(0)
	if k.EchoReply {
		reply = 1
	}
	if k.Src.Is4() {
		return datapath.FlowKey4{
			Src: wire32(k.Src), Dst: wire32(k.Dst), Sport: wire16(k.Sport), Dport: wire16(k.Dport),
			Zone: k.Zone, Protocol: k.Protocol, EchoReply: reply,
		}, [2]string{"nursery4", "flows4"}
	}
	return datapath.FlowKey6{
		Src: datapath.Addr6{Bytes: k.Src.As16()}, Dst: datapath.Addr6{Bytes: k.Dst.As16()}, Sport: wire16(k.Sport), Dport: wire16(k.Dport),
		Zone: k.Zone, Protocol: k.Protocol, EchoReply: reply,
	}, [2]string{"nursery6", "flows6"}
}

func (w *world) evictHalf(key model.Key) {
	w.t.Helper()
	raw, tables := rawKey(key)
	for _, table := range tables {
		if err := w.loader.Maps()[table].Delete(raw); !errors.Is(err, ebpf.ErrKeyNotExist) {
			must(w.t, err)
		}
	}
}

func (w *world) write(table string, key, value any) {
	w.t.Helper()
	must(w.t, w.loader.Maps()[table].Put(key, value))
}
