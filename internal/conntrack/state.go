// Package conntrack names what a flow is like and picks flows by it. The flows
// themselves are read by package maps.
package conntrack

import (
	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"

	"golang.org/x/sys/unix"
)

// States of flows, in nf_conntrack's words where it has them.
const (
	// Of TCP.
	SYNSent     = "SYN_SENT"
	SYNReceived = "SYN_RECV"
	Established = "ESTABLISHED"
	FINWait     = "FIN_WAIT"  // one side has closed
	TimeWait    = "TIME_WAIT" // both have
	Closed      = "CLOSE"     // by a RST

	// Of everything else.
	Unreplied = "UNREPLIED"
	Replied   = "REPLIED"
	Assured   = "ASSURED" // there was a further packet after the reply
)

// states are all of them.
var states = []string{SYNSent, SYNReceived, Established, FINWait, TimeWait, Closed, Unreplied, Replied, Assured}

// State names the state of a flow.
func State(f maps.Flow) string {
	has := func(bits uint8) bool { return f.State&bits == bits }
	if f.Protocol != unix.IPPROTO_TCP {
		switch {
		case has(datapath.FlowReplied | datapath.FlowConfirmed):
			return Assured
		case has(datapath.FlowReplied):
			return Replied
		}
		return Unreplied
	}
	switch {
	case has(datapath.FlowReset):
		return Closed
	case has(datapath.FlowFINForward | datapath.FlowFINReply):
		return TimeWait
	case has(datapath.FlowFINForward), has(datapath.FlowFINReply):
		return FINWait
	case has(datapath.FlowConfirmed):
		return Established
	case has(datapath.FlowReplied):
		return SYNReceived
	}
	return SYNSent
}
