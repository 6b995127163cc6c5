package datapath_test

import (
	"net/netip"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// reset brings the datapath and a new model to the same beginning.
func (w *world) reset() {
	w.t.Helper()
	w.emptyTables()
	w.closeSockets()
	w.m = model.New()
	w.m.LocalPorts = w.config.LocalPorts
	w.m.Devices[uint32(w.uplink)] = hostMAC
	w.modelRoutes()
	w.m.Took = func(forward model.Key) (uint16, bool) {
		half, ok := w.halves()[forward]
		return half.To.Sport, ok
	}
	w.setNetwork(networkOne, maps.Network{Subnet: subnetOne, Gateway: gatewayOne, MAC: gatewayMAC, Bridge: uint32(w.bridge), Rule: masqueradeOne})
	w.setNetwork(networkTwo, maps.Network{Subnet: subnetTwo, Gateway: gatewayTwo, MAC: gatewayMAC, Rule: masqueradeTwo})
	w.setNetwork(networkThree, maps.Network{Subnet: subnetThree, Gateway: gatewayThree, MAC: gatewayMAC})
	for _, s := range []step{
		hostAddresses{hostAddr, secondHostAddr}, uplinks{true},
		setsRule{masqueradeOne, maps.Rule{Kind: maps.RuleMasquerade, Network: networkOne}},
		setsRule{masqueradeTwo, maps.Rule{Kind: maps.RuleMasquerade, Network: networkTwo}},
		setsRule{aliasRule, maps.Rule{Kind: maps.RuleAlias, Network: networkOne}},
		setsRule{publishTCP, publishedRule(unix.IPPROTO_TCP, w.a)},
		setsRule{publishUDP, publishedRule(unix.IPPROTO_UDP, w.a)},
		setsEndpoint{1, "a", true, true}, setsEndpoint{2, "b", true, true}, setsEndpoint{3, "c", true, false},
		setsEndpoint{4, "d", true, false}, setsEndpoint{5, "i", true, false},
		setsAlias{1, 2},
	} {
		must(w.t, s.do(w))
	}
	w.adoptCounters()
}

// adoptCounters lets the model's counters go on from the datapath's.
func (w *world) adoptCounters() {
	w.t.Helper()
	for c, n := range w.packets() {
		w.m.Packets[model.Count{Hook: c.hook, Verdict: c.verdict}] = n
	}
	w.m.Drops = w.drops()
	sums, err := w.maps.AllRuleCounters(worldIndices)
	must(w.t, err)
	for index, sum := range sums {
		w.m.Rules[uint32(index)] = sum
	}
}

func publishedRule(protocol uint8, to endpoint) maps.Rule {
	return maps.Rule{
		Kind: maps.RulePublish, Protocol: protocol, HostAddr: netip.IPv4Unspecified(),
		First: published, Last: published, Target: target, Endpoint: to.index,
	}
}

func (w *world) setNetwork(index uint16, n maps.Network) {
	w.t.Helper()
	must(w.t, w.maps.SetNetwork(index, n))
	w.m.Networks[index] = model.Network{
		Subnets: []netip.Prefix{n.Subnet}, Gateways: []netip.Addr{n.Gateway}, MAC: n.MAC, Rule: n.Rule,
	}
}

// modelRoutes are those of the namespace; a kernel that cannot tell the source
// of a route leaves the uplink's.
func (w *world) modelRoutes() {
	w.t.Helper()
	kernel, err := loader.KernelFeatures()
	must(w.t, err)
	uplink, second := uint32(w.uplink), secondHostAddr
	if !kernel.FIBSource {
		second = hostAddr
	}
	everywhere := netip.MustParsePrefix("0.0.0.0/0")
	w.m.Routes = []model.Route{
		{Prefix: netip.PrefixFrom(hostAddr, 32)}, {Prefix: netip.PrefixFrom(secondHostAddr, 32)},
		{Prefix: netip.MustParsePrefix("192.0.2.255/32")}, // broadcast
		{Prefix: refused},
		{Prefix: sideways, Ifindex: uint32(w.side), MTU: 1500},
		{Prefix: narrow, Ifindex: uplink, Source: hostAddr, MTU: narrowMTU},
		{Prefix: chosenSource, Ifindex: uplink, Source: second, MTU: 1500},
		{Prefix: everywhere, Ifindex: uplink, Source: hostAddr, MTU: 1500},
	}
}

// emptyTables takes away what sequences of steps have left.
func (w *world) emptyTables() {
	w.t.Helper()
	must(w.t, w.maps.ClearAlias(aliasIndex, vipAddr))
	for index := range uint32(worldIndices) {
		must(w.t, w.maps.ClearEndpoint(index))
		must(w.t, w.maps.ClearRule(index))
		w.write("endpoints", index, datapath.Endpoint{})
		w.write("rules", index, datapath.Rule{})
		w.write("answer_limits", index, uint64(0))
		w.write("rule_counts", index, make([]datapath.RuleCounters, ebpf.MustPossibleCPU()))
	}
	for key := range w.halves() {
		w.evict(key)
	}
	var key datapath.FragmentKey4
	var value datapath.Fragment
	fragments := w.loader.Maps()["fragments4"]
	for entries := fragments.Iterate(); entries.Next(&key, &value); {
		must(w.t, fragments.Delete(key))
	}
	cursors := make([]uint32, w.loader.Maps()["snat_cursors"].MaxEntries())
	slots := make([]uint32, len(cursors))
	for i := range slots {
		slots[i] = uint32(i)
	}
	_, err := w.loader.Maps()["snat_cursors"].BatchUpdate(slots, cursors, nil)
	must(w.t, err)
}

func (w *world) closeSockets() {
	for s, closeSocket := range w.sockets {
		must(w.t, closeSocket())
		delete(w.sockets, s)
	}
}
