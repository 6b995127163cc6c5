package maps_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

func TestTables(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	k.putHalf(4, datapath.FlowKey4{Src: 1}, datapath.Flow4{})
	k.putHalf(4, datapath.FlowKey4{Src: 2}, datapath.Flow4{})
	must(t, k.SetNetwork(1, network("172.17.0.0/16", "172.17.0.1")))
	must(t, k.SetEndpoint(5, someEndpoint()))
	must(t, k.SetRule(3, maps.Rule{Kind: maps.RuleMasquerade, Network: 1}))
	o, err := k.Occupancy()
	must(t, err)
	tables := o.Tables
	want := map[string]int{
		"flows4": 2, "flows6": 0, "nursery4": 0, "nursery6": 0, "devices": 1, "endpoints4": 1, "host_addrs4": 0, "rules": 1,
		"uplinks": 0, "subnets4": 1, "subnets6": 0, "socket_origins": 0, "vips4": 0, "fragments4": 0,
		"endpoints6": 0, "host_addrs6": 0, "vips6": 0, "fragments6": 0,
	}
	equal(t, "tables", len(tables), len(want))
	for name, n := range want {
		equal(t, name, tables[name].Entries, n)
	}
	equal(t, "room for devices", tables["devices"].Capacity, int(k.byName["devices"].MaxEntries()))
	equal(t, "entries for halves", tables["flows4"].Capacity, int(k.byName["flows4"].MaxEntries()))
	equal(t, "room for young halves", tables["nursery4"].Capacity, int(k.byName["nursery4"].MaxEntries()))
	equal(t, "room for rules", tables["rules"].Capacity, int(k.byName["rules"].MaxEntries())-1) // 0 is no rule
}

// More entries than one system call reads are all counted, once.
func TestTablesOfManyBatches(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	const n = 10_000
	addrs, indexes := make([]uint32, n), make([]uint32, n)
	for i := range addrs {
		addrs[i] = uint32(i)
	}
	_, err := k.byName["endpoints4"].BatchUpdate(addrs, indexes, nil)
	must(t, err)
	equal(t, "entries", k.entries("endpoints4"), n)
}

func TestFlows(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	o, err := k.Occupancy()
	must(t, err)
	equal(t, "kinds of no flows", len(o.Flows), 0)
	for i, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		k.putHalf(4, datapath.FlowKey4{Src: uint32(i), Protocol: protocol}, datapath.Flow4{})
	}
	k.putHalf(6, datapath.FlowKey6{Protocol: unix.IPPROTO_ICMPV6}, datapath.Flow6{})
	o, err = k.Occupancy()
	must(t, err)
	equal(t, "kinds", len(o.Flows), 3)
	equal(t, "ICMPv6", o.Flows[maps.FlowKind{Family: 6, Protocol: unix.IPPROTO_ICMPV6}], 1)
	equal(t, "TCP", o.Flows[maps.FlowKind{Family: 4, Protocol: unix.IPPROTO_TCP}], 2)
	equal(t, "UDP", o.Flows[maps.FlowKind{Family: 4, Protocol: unix.IPPROTO_UDP}], 1)
}
