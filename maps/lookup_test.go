package maps_test

import (
	"net/netip"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

const tcp, udp = unix.IPPROTO_TCP, unix.IPPROTO_UDP

func portsMap(protocol uint8) string {
	if protocol == udp {
		return "ports_udp"
	}
	return "ports_tcp"
}

// walk does with a port's first rule what published4 of bpf/ports.h does, and
// returns the index of the rule that a packet to addr:port meets, 0 for none.
func walk(next uint32, rules func(index uint32) datapath.Rule, addr netip.Addr, port uint16) uint32 {
	for i := 0; i < datapath.MaxRuleChain && next != 0; i++ {
		rule := rules(next)
		covers := rule.Kind == datapath.RulePublish && port >= rule.First && port <= rule.Last
		if covers && hasAddress(rule, addr) {
			return next
		}
		next = rule.Next
	}
	return 0
}

// hasAddress reports whether a rule is for packets to an address, as the datapath
// sees it: of its own family alone.
func hasAddress(rule datapath.Rule, addr netip.Addr) bool {
	if addr.Is4() {
		return rule.Family == unix.AF_INET && (rule.Addr4 == 0 || rule.Addr4 == wire(addr.String()))
	}
	return rule.Family == unix.AF_INET6 && (rule.Addr6 == datapath.Addr6{} || rule.Addr6 == wire6(addr.String()))
}

func (k *kernel) published(protocol uint8, addr netip.Addr, port uint16) uint32 {
	k.t.Helper()
	head := get[uint32](k, portsMap(protocol), uint32(port))
	return walk(head, func(index uint32) datapath.Rule { return get[datapath.Rule](k, "rules", index) }, addr, port)
}

// first reads the first n values of an array map in one system call.
func first[V any](k *kernel, name string, n int) []V {
	k.t.Helper()
	keys, values := make([]uint32, n), make([]V, n)
	var cursor ebpf.MapBatchCursor
	got, err := k.byName[name].BatchLookup(&cursor, keys, values, nil)
	if got != n {
		k.t.Fatalf("%s: %d of %d values read: %v", name, got, n, err)
	}
	return values
}

// usedPorts counts the ports that lead to any rule.
func (k *kernel) usedPorts(protocol uint8) (used int) {
	k.t.Helper()
	for _, head := range first[uint32](k, portsMap(protocol), 65536) {
		if head != 0 {
			used++
		}
	}
	return used
}

func (k *kernel) generation(index uint32) uint32 {
	k.t.Helper()
	return get[datapath.Rule](k, "rules", index).Generation
}

// publish is the rule for a range of host ports; the target follows from it.
func publish(protocol uint8, addr string, first, last uint16) maps.Rule {
	return maps.Rule{
		Kind: maps.RulePublish, Protocol: protocol, HostAddr: ip(addr),
		First: first, Last: last, Target: first + 1000, Endpoint: 5,
	}
}
