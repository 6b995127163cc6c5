package datapath_test

import (
	"errors"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
)

// conntrackTables are those that hold halves of IPv4's flows. The model knows one.
var conntrackTables = []string{"nursery4", "flows4"}

// halves are those of all flows, wherever they are kept.
func (w *world) halves() map[model.Key]model.Half {
	w.t.Helper()
	all := map[model.Key]model.Half{}
	for _, table := range conntrackTables {
		keys, values := make([]datapath.FlowKey4, 4096), make([]datapath.Flow4, 4096)
		var cursor ebpf.MapBatchCursor
		n, err := w.loader.Maps()[table].BatchLookup(&cursor, keys, values, nil)
		if !errors.Is(err, ebpf.ErrKeyNotExist) {
			w.t.Fatalf("read %s: %v", table, err)
		}
		for i := range n {
			key := modelKey(keys[i])
			values[i].Head.State &^= flowTenured
			to := model.Key{
				Src: addr4(values[i].Src), Dst: addr4(values[i].Dst), Sport: wire16(values[i].Sport), Dport: wire16(values[i].Dport),
				Protocol: key.Protocol, EchoReply: key.EchoReply,
			}
			all[key] = model.Half{Head: values[i].Head, To: to}
		}
	}
	return all
}

func modelKey(k datapath.FlowKey4) model.Key {
	return model.Key{
		Src: addr4(k.Src), Dst: addr4(k.Dst), Sport: wire16(k.Sport), Dport: wire16(k.Dport),
		Zone: k.Zone, Protocol: k.Protocol, EchoReply: k.EchoReply == 1,
	}
}

func rawKey(k model.Key) datapath.FlowKey4 {
	key := datapath.FlowKey4{
		Src: wire32(k.Src), Dst: wire32(k.Dst), Sport: wire16(k.Sport), Dport: wire16(k.Dport), Zone: k.Zone, Protocol: k.Protocol,
	}
	if k.EchoReply {
		key.EchoReply = 1
	}
	return key
}

func (w *world) write(table string, key, value any) {
	w.t.Helper()
	must(w.t, w.loader.Maps()[table].Put(key, value))
}

func (w *world) evict(key model.Key) {
	w.t.Helper()
	for _, table := range conntrackTables {
		err := w.loader.Maps()[table].Delete(rawKey(key))
		if !errors.Is(err, ebpf.ErrKeyNotExist) {
			must(w.t, err)
		}
	}
}
