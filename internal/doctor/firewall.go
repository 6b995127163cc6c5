package doctor

import (
	"fmt"
	"strings"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/firewall"
)

// Netfilter is what the host's firewall may do to containers' packets.
type Netfilter struct {
	Dropping []firewall.Chain
	// BridgeCalls are the settings net.bridge.bridge-nf-call-* that are on.
	BridgeCalls []string
}

// names joins those of a hook's chains.
func (n Netfilter) names(hook firewall.Hook, bridge bool) string {
	var names []string
	for _, c := range n.Dropping {
		if c.Hook == hook && c.Bridge == bridge {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, ", ")
}

// Firewall says which packets of containers the policies of the host's firewall
// concern. Nothing that the programs deliver meets it: that is all between
// containers and the outside, and unicast between containers.
func Firewall(n Netfilter) []api.Finding {
	f := of("firewall")
	if names := n.names(firewall.Input, false); names != "" {
		f.note("accept what comes in by sluice's bridges, or at least `ct state established`",
			"INPUT drops by default (%s): what containers send to the host itself needs a rule, the answers to its own connections to published ports too", names)
	}
	if names := n.names(firewall.Output, false); names != "" {
		f.note("accept what leaves by sluice's bridges", "OUTPUT drops by default (%s): what the host itself sends to containers needs a rule", names)
	}
	forward, frames := n.names(firewall.Forward, false), n.names(firewall.Forward, true)
	if forward != "" && len(n.BridgeCalls) == 0 {
		f.ok("FORWARD drops by default (%s), which does not matter: the host forwards nothing for containers", forward)
	}
	if frames != "" {
		f.note("accept what sluice's bridges forward", "frames are dropped by default (%s): broadcast and multicast between containers need a rule", frames)
	}
	return f.orOK("no chain drops by default")
}

// BridgeNetfilter says what bridge-nf-call-iptables changes.
func BridgeNetfilter(n Netfilter) []api.Finding {
	f := of("bridge-netfilter")
	forward := n.names(firewall.Forward, false)
	calls := strings.Join(n.BridgeCalls, ", ")
	switch {
	case len(n.BridgeCalls) == 0:
		f.ok("off: what containers of a network send each other never meets iptables")
	case forward == "":
		f.ok("on (%s), which does not matter: broadcast and multicast between containers meet FORWARD, whose policy is to accept, and nothing else does", calls)
	default:
		f.note(fmt.Sprintf("sysctl %s=0, unless another tool needs it, or accept in FORWARD what comes in by sluice's bridges", strings.Join(n.BridgeCalls, "=0 ")),
			"on (%s), and FORWARD drops by default (%s): broadcast and multicast between containers need a rule, and nothing else does", calls, forward)
	}
	return f.all
}

// ReversePath says why rp_filter does not matter. settings are those of the host
// that are on, for example "eth0=1".
func ReversePath(settings []string) []api.Finding {
	f := of("rp_filter")
	if len(settings) > 0 {
		f.ok("on (%s), which does not matter: what comes for containers does not meet the host's stack, and what they send to it comes from the bridge of their own subnet",
			strings.Join(settings, ", "))
	}
	return f.orOK("off, and it would not matter")
}
