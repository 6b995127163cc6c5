package datapath_test

import (
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
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
	w.m.Patience = w.patience()
	w.m.Devices[uint32(w.uplink)] = hostMAC
	w.setThird(true)
	w.modelRoutes()
	w.m.Took = func(forward model.Key) (uint16, bool) {
		half, ok := w.halves()[forward]
		return half.To.Sport, ok
	}
	w.setNetwork(networkOne, maps.Network{Subnet: subnetOne, Gateway: gatewayOne, MAC: gatewayMAC, Bridge: uint32(w.bridge), Rule: masqueradeOne})
	w.setNetwork(networkTwo, maps.Network{Subnet: subnetTwo, Gateway: gatewayTwo, MAC: gatewayMAC, Rule: masqueradeTwo})
	w.setNetwork(networkThree, maps.Network{Subnet: subnetThree, Gateway: gatewayThree, MAC: gatewayMAC})
	for _, s := range []step{
		hostAddresses{hostAddr, secondHostAddr, ipv4.thirdHost}, uplinks{true},
		setsRule{masqueradeOne, maps.Rule{Kind: maps.RuleMasquerade, Network: networkOne}},
		setsRule{masqueradeTwo, maps.Rule{Kind: maps.RuleMasquerade, Network: networkTwo}},
		setsRule{aliasRule, maps.Rule{Kind: maps.RuleAlias, Network: networkOne}},
		setsRule{publishTCP, publishedRule(unix.IPPROTO_TCP, netip.IPv4Unspecified())},
		setsRule{publishUDP, publishedRule(unix.IPPROTO_UDP, netip.IPv4Unspecified())},
		setsRule{publishTCP6, publishedRule(unix.IPPROTO_TCP, netip.IPv6Unspecified())},
		setsRule{publishUDP6, publishedRule(unix.IPPROTO_UDP, netip.IPv6Unspecified())},
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

// publishedRule leads the published port of a protocol to the endpoint 1.
func publishedRule(protocol uint8, addr netip.Addr) maps.Rule {
	return maps.Rule{
		Kind: maps.RulePublish, Protocol: protocol, HostAddr: addr,
		First: published, Last: published, Target: target, Endpoint: 1,
	}
}

// setNetwork writes a network; all but the third have the twins of their
// subnets and gateways.
func (w *world) setNetwork(index uint16, n maps.Network) {
	w.t.Helper()
	subnets, gateways := []netip.Prefix{n.Subnet}, []netip.Addr{n.Gateway}
	if index != networkThree {
		n.Subnet6, n.Gateway6 = sixPrefix(n.Subnet), six(n.Gateway)
		subnets, gateways = append(subnets, n.Subnet6), append(gateways, n.Gateway6)
	}
	must(w.t, w.maps.SetNetwork(index, n))
	w.m.Networks[index] = model.Network{Subnets: subnets, Gateways: gateways, MAC: n.MAC, Rule: n.Rule}
}

// modelRoutes are those of the namespace. What source one prefers that does not
// say so is the kernel's choice among the uplink's addresses; older kernels do
// not tell programs any.
func (w *world) modelRoutes() {
	w.t.Helper()
	kernel, err := loader.KernelFeatures()
	must(w.t, err)
	uplink := uint32(w.uplink)
	w.m.Routes = []model.Route{{Prefix: netip.MustParsePrefix("192.0.2.255/32")}} // broadcast
	for _, f := range []struct {
		prefix func(netip.Prefix) netip.Prefix
		addr   func(netip.Addr) netip.Addr
	}{
		{func(p netip.Prefix) netip.Prefix { return p }, func(a netip.Addr) netip.Addr { return a }},
		{sixPrefix, six},
	} {
		choice, second := w.sourceTo(f.addr(remoteAddr)), f.addr(secondHostAddr)
		if !kernel.FIBSource {
			choice, second = netip.Addr{}, netip.Addr{}
		}
		own := []netip.Addr{hostAddr, secondHostAddr, ipv4.thirdHost}
		if !w.hasThird {
			own = own[:2]
		}
		for _, addr := range own {
			w.m.Routes = append(w.m.Routes, model.Route{Prefix: netip.PrefixFrom(f.addr(addr), f.addr(addr).BitLen()), Local: true})
		}
		w.m.Routes = append(w.m.Routes,
			model.Route{Prefix: f.prefix(refused)},
			model.Route{Prefix: f.prefix(sideways), Ifindex: uint32(w.side), MTU: 1500},
			model.Route{Prefix: f.prefix(narrow), Ifindex: uplink, Source: choice, MTU: narrowMTU},
			model.Route{Prefix: f.prefix(chosenSource), Ifindex: uplink, Source: second, MTU: 1500},
			model.Route{Prefix: netip.PrefixFrom(f.addr(hostAddr), 0).Masked(), Ifindex: uplink, Source: choice, MTU: 1500},
		)
	}
}

// sourceTo is the source address that the host would use itself.
func (w *world) sourceTo(addr netip.Addr) netip.Addr {
	w.t.Helper()
	routes, err := netlink.RouteGet(addr.AsSlice())
	must(w.t, err)
	source, _ := netip.AddrFromSlice(routes[0].Src)
	return source.Unmap()
}

// emptyTables takes away what sequences of steps have left.
func (w *world) emptyTables() {
	w.t.Helper()
	must(w.t, w.maps.ClearAlias(aliasIndex, vipAddr, six(vipAddr)))
	for index := range uint32(worldIndices) {
		must(w.t, w.maps.ClearEndpoint(index))
		must(w.t, w.maps.ClearRule(index))
		w.write("endpoints", index, datapath.Endpoint{})
		w.write("rules", index, datapath.Rule{})
		w.write("answer_limits", index, uint64(0))
		w.write("rule_counts", index, make([]datapath.RuleCounters, ebpf.MustPossibleCPU()))
	}
	// Maps remembers generations, which begin anew.
	again, err := maps.New(w.loader.Maps(), w.loader.FlowTable())
	must(w.t, err)
	w.maps = again
	w.setWaitingEnds([2]waitingEnds{})
	for key := range w.halves() {
		w.evict(key)
	}
	for _, table := range []string{"fragments4", "fragments6"} {
		must(w.t, empty(w.loader.Maps()[table]))
	}
	must(w.t, empty(w.loader.Maps()["snat_cursors"]))
}

func (w *world) closeSockets() {
	for s, closeSocket := range w.sockets {
		must(w.t, closeSocket())
		delete(w.sockets, s)
	}
}
