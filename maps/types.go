// Package maps reads and writes the entries of the datapath's BPF maps. It
// takes netip.Addr and friends and builds keys and values, whose layouts come
// from the compiled programs, inside. It never creates, pins or loads: that
// is package loader's work.
package maps

import (
	"net"
	"net/netip"
)

// Network is what the datapath knows of a bridge network. Subnet and Gateway
// are of IPv4, Subnet6 and Gateway6 of IPv6; without it they are zero.
type Network struct {
	Subnet   netip.Prefix
	Gateway  netip.Addr
	Subnet6  netip.Prefix
	Gateway6 netip.Addr
	MAC      net.HardwareAddr // of the bridge
	Bridge   uint32           // the bridge's ifindex
	Rule     uint32           // masquerade rule, of both families; 0 for an internal network
}

// Endpoint is what the datapath knows of an endpoint.
type Endpoint struct {
	Network uint16     // index
	Addr    netip.Addr // of IPv4
	Addr6   netip.Addr // of IPv6; zero without
	MAC     net.HardwareAddr
	Ifindex uint32 // of the host side of the veth
	// Translated is set when others reach the endpoint by a published port
	// or an alias: its replies inside the network must be looked at too.
	Translated bool
	// Ready is set once the programs are attached. Until then the datapath
	// delivers nothing to the endpoint.
	Ready bool
	// Final is set while the veth may have the container program both as a link
	// and as a filter: the first to see a packet ends the hook, or the other
	// would take a reply that is turned back already for a forgery.
	Final bool
}

// RuleKind tells rules apart.
type RuleKind uint8

// The kinds of rules, as bpf/types.h has them.
const (
	RuleMasquerade RuleKind = 1
	RulePublish    RuleKind = 2
	RuleAlias      RuleKind = 3
)

// Rule is one line of `sluice nat`.
type Rule struct {
	Kind    RuleKind
	Network uint16 // masquerade: whose traffic; alias: whose address

	// Published ports: host ports First to Last of HostAddr (unspecified
	// for every address of its family) lead to Endpoint's ports from Target on.
	Protocol    uint8
	HostAddr    netip.Addr
	First, Last uint16
	Target      uint16
	Endpoint    uint32
}

// RuleCounters are a rule's counters, summed over the CPUs.
type RuleCounters struct {
	Flows     uint64 // first packets of flows
	FlowBytes uint64 // and their bytes, from the network header on
	Packets   uint64 // every packet that the rule translated, both directions
	Bytes     uint64
}

// HostAddr is an address of the host.
type HostAddr struct {
	Addr netip.Addr
	// Network is the index of the network whose gateway it is; 0 for the
	// host's other addresses.
	Network uint16
}

// Uplink is a device that leads outside.
type Uplink struct {
	// IPv4 and IPv6 are the addresses that masqueraded packets get when the route
	// prefers no other; zero for none.
	IPv4, IPv6 netip.Addr
	// Ethernet is whether its packets have Ethernet headers.
	Ethernet bool
}
