package datapath

import (
	"fmt"
	"slices"
	"strings"
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

// maxTimeout is the longest: flows tell times by the difference of 32-bit seconds.
const maxTimeout = 365 * 24 * time.Hour

// TimeoutChoices are the names that ParseTimeouts takes.
func TimeoutChoices() []string {
	var names []string
	for _, constant := range append(timeoutNames, "timeout_fragment") {
		names = append(names, strings.ReplaceAll(strings.TrimPrefix(constant, "timeout_"), "_", "-"))
	}
	return names
}

// ParseTimeouts reads wishes of the form NAME=DURATION.
func ParseTimeouts(wishes []string) (Timeouts, error) {
	timeouts := Timeouts{}
	for _, wish := range wishes {
		name, value, _ := strings.Cut(wish, "=")
		if !slices.Contains(TimeoutChoices(), name) {
			return nil, fmt.Errorf("timeout %q: want NAME=DURATION with one of the names %s", wish, strings.Join(TimeoutChoices(), ", "))
		}
		duration, err := time.ParseDuration(value)
		if err != nil || duration < time.Second || duration > maxTimeout || duration%time.Second != 0 {
			return nil, fmt.Errorf("timeout %q: want whole seconds, as 90s or 2h, up to %v", wish, maxTimeout)
		}
		timeouts["timeout_"+strings.ReplaceAll(name, "-", "_")] = uint32(duration / time.Second)
	}
	return timeouts, nil
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
// bpf/state.h decides it. TestTimeouts holds the two together.
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
