package datapath

import "github.com/cilium/ebpf"

// Keys and values of the maps, as bpf/types.h declares them. Addresses and
// ports of packets are in network byte order, ports of rules in host order.
type (
	Addr6        = layoutAddr6
	FlowKey4     = layoutFlowKey4
	FlowKey6     = layoutFlowKey6
	FlowHead     = layoutFlowHead
	Flow4        = layoutFlow4
	Flow6        = layoutFlow6
	FlowSeed     = layoutFlowSeed
	FlowTags     = layoutFlowTags
	FlowEntry4   = layoutFlowEntry4
	FlowEntry6   = layoutFlowEntry6
	FlowRequest  = layoutFlowRequest
	FragmentKey4 = layoutFragmentKey4
	FragmentKey6 = layoutFragmentKey6
	Fragment     = layoutFragment
	Endpoint     = layoutEndpoint
	Network      = layoutNetwork
	Rule         = layoutRule
	RuleCounters = layoutRuleCounters
	HostAddr     = layoutHostAddr
	Uplink       = layoutUplink
	Vip          = layoutVip
	Turns        = layoutTurns
	SubnetKey4   = layoutSubnetKey4
	SubnetKey6   = layoutSubnetKey6
	SocketKey    = layoutSocketKey
	SocketOrigin = layoutSocketOrigin
	DropEvent    = layoutDropEvent
	ReportBudget = layoutReportBudget
)

// Bits of an endpoint's flags and a flow's state, zones, rule kinds: the #defines of
// bpf/types.h, which BTF does not carry. TestConstants holds the two together.
const (
	EndpointReady      = 0x01
	EndpointTranslated = 0x02
	EndpointFinal      = 0x04
	UplinkEthernet     = 0x01

	ZoneOutside = 0
	ZoneHost    = 0xffff

	FlowReplied    = 0x01
	FlowConfirmed  = 0x02
	FlowFINForward = 0x04
	FlowFINReply   = 0x08
	FlowReset      = 0x10
	FlowTenured    = 0x20

	// FlowWays is how many halves a set of the tenured table has room for.
	FlowWays = 16

	// FlowPut and FlowErase are what a FlowRequest asks for.
	FlowPut   = 1
	FlowErase = 2
	// FlowDone and FlowThere are what its program returns.
	FlowDone  = 1
	FlowThere = 2

	DirectionForward = 0
	DirectionReply   = 1

	RuleMasquerade = 1
	RulePublish    = 2
	RuleAlias      = 3

	MaxRuleChain    = 8
	MaxAliasMembers = 256

	// ReportsPerSecond is how many drops a CPU reports for one reason.
	ReportsPerSecond = 64

	ResolverAddr = 0x7f00000b
	ResolverPort = 61053
)

// Hook is a place where packets meet the datapath, as packet_counts numbers it.
type Hook uint32

// The hooks.
const (
	HookContainer = Hook(layoutHookHOOK_CONTAINER)
	HookUplink    = Hook(layoutHookHOOK_UPLINK)
	HookBridge    = Hook(layoutHookHOOK_BRIDGE)
	HookSocket    = Hook(layoutHookHOOK_SOCKET)
	HookResolver  = Hook(layoutHookHOOK_RESOLVER)
)

// String returns the hook's name.
func (h Hook) String() string {
	names := [...]string{"container", "uplink", "bridge", "socket", "resolver"}
	if int(h) < len(names) {
		return names[h]
	}
	return "unknown"
}

// Verdict is what the datapath decided on a packet, as packet_counts numbers it.
type Verdict uint32

// The verdicts.
const (
	VerdictPass     = Verdict(layoutVerdictVERDICT_PASS)
	VerdictRedirect = Verdict(layoutVerdictVERDICT_REDIRECT)
	VerdictDrop     = Verdict(layoutVerdictVERDICT_DROP)
	Verdicts        = Verdict(layoutVerdictVERDICTS)
)

// String returns the verdict's name.
func (v Verdict) String() string {
	names := [...]string{"pass", "redirect", "drop"}
	if int(v) < len(names) {
		return names[v]
	}
	return "unknown"
}

// LoadLayout returns the specifications of every map.
func LoadLayout() (*ebpf.CollectionSpec, error) { return loadLayout() }

// LoadTable returns the object whose program does what a FlowRequest asks for.
func LoadTable() (*ebpf.CollectionSpec, error) { return loadTable() }

// LoadTunnel returns the object of HookUplink for devices without a link layer.
func LoadTunnel() (*ebpf.CollectionSpec, error) { return loadTunnel() }

// LoadPrograms returns the objects of all hooks, by hook.
func LoadPrograms() (map[Hook]*ebpf.CollectionSpec, error) {
	specs := map[Hook]*ebpf.CollectionSpec{}
	for hook, load := range map[Hook]func() (*ebpf.CollectionSpec, error){
		HookContainer: loadContainer,
		HookUplink:    loadUplink,
		HookBridge:    loadBridge,
		HookSocket:    loadSocket,
		HookResolver:  loadResolver,
	} {
		spec, err := load()
		if err != nil {
			return nil, err
		}
		specs[hook] = spec
	}
	return specs, nil
}
