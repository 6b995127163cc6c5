package datapath

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Timeouts are how long flows live without packets: the constants of a program,
// by their names in bpf/config.h, in seconds.
type Timeouts map[string]uint32

// timeoutNames are the constants that Timeouts.Of needs.
var timeoutNames = []string{
	"timeout_tcp_opening", "timeout_tcp_established", "timeout_tcp_closing", "timeout_tcp_reset",
	"timeout_udp_new", "timeout_udp_replied", "timeout_icmp",
}

// TimeoutsOf reads them from the specification of programs that know flows.
func TimeoutsOf(spec *ebpf.CollectionSpec) (Timeouts, error) {
	timeouts := Timeouts{}
	for _, name := range timeoutNames {
		variable, ok := spec.Variables[name]
		if !ok {
			return nil, fmt.Errorf("the programs have no constant %s", name)
		}
		var seconds uint32
		if err := variable.Get(&seconds); err != nil {
			return nil, fmt.Errorf("read constant %s: %w", name, err)
		}
		timeouts[name] = seconds
	}
	return timeouts, nil
}

// Of returns the timeout of a flow in a state, as flow_timeout of
// bpf/conntrack.h decides it. TestTimeouts holds the two together.
func (t Timeouts) Of(protocol, state uint8) time.Duration {
	return time.Duration(t[timeoutName(protocol, state)]) * time.Second
}

func timeoutName(protocol, state uint8) string {
	switch {
	case protocol == unix.IPPROTO_UDP && state&FlowReplied != 0:
		return "timeout_udp_replied"
	case protocol == unix.IPPROTO_UDP:
		return "timeout_udp_new"
	case protocol != unix.IPPROTO_TCP:
		return "timeout_icmp"
	case state&FlowReset != 0:
		return "timeout_tcp_reset"
	case state&(FlowFINForward|FlowFINReply) != 0:
		return "timeout_tcp_closing"
	case state&FlowConfirmed != 0:
		return "timeout_tcp_established"
	}
	return "timeout_tcp_opening"
}
