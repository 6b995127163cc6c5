package datapath_test

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
)

// uptime is the datapath's clock: seconds of CLOCK_MONOTONIC.
func uptime(t testing.TB) uint32 {
	t.Helper()
	var now unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &now))
	return uint32(now.Sec)
}

// TestConstants holds Go's copies of #defines and the C headers together.
func TestConstants(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../../bpf/types.h")
	must(t, err)
	for name, want := range map[string]uint64{
		"ENDPOINT_READY":      datapath.EndpointReady,
		"ENDPOINT_TRANSLATED": datapath.EndpointTranslated,
		"UPLINK_ETHERNET":     datapath.UplinkEthernet,
		"ZONE_OUTSIDE":        datapath.ZoneOutside,
		"ZONE_HOST":           datapath.ZoneHost,
		"RULE_MASQUERADE":     datapath.RuleMasquerade,
		"RULE_PUBLISH":        datapath.RulePublish,
		"RULE_ALIAS":          datapath.RuleAlias,
		"MAX_ALIAS_MEMBERS":   datapath.MaxAliasMembers,
		"MAX_RULE_CHAIN":      datapath.MaxRuleChain,
		"REPORTS_PER_SECOND":  datapath.ReportsPerSecond,
		"RESOLVER_ADDR":       datapath.ResolverAddr,
		"RESOLVER_PORT":       datapath.ResolverPort,
		"FLOW_REPLIED":        flowReplied,
		"FLOW_CONFIRMED":      flowConfirmed,
		"FLOW_FIN_FORWARD":    flowFINForward,
		"FLOW_FIN_REPLY":      flowFINReply,
		"FLOW_RESET":          flowReset,
		"FLOW_TENURED":        flowTenured,
		"SEEN_TOGETHER":       model.SeenTogether,
		"FLOW_WAYS":           datapath.FlowWays,
		"FLOW_PUT":            datapath.FlowPut,
		"FLOW_ERASE":          datapath.FlowErase,
		"FLOW_DONE":           datapath.FlowDone,
		"FLOW_THERE":          datapath.FlowThere,
		"TARGET_ENDPOINT":     targetEndpoint,
		"TARGET_PEER":         targetPeer,
		"TARGET_OUTSIDE":      targetOutside,
		"TARGET_STACK":        targetStack,
		"DIRECTION_FORWARD":   directionForward,
		"DIRECTION_REPLY":     directionReply,
	} {
		found := regexp.MustCompile(`\b` + name + `\s*=?\s*(0x[0-9a-f]+|\d+)`).FindSubmatch(source)
		if found == nil {
			t.Errorf("%s is not in bpf/types.h", name)
			continue
		}
		if got, err := strconv.ParseUint(string(found[1]), 0, 64); err != nil || got != want {
			t.Errorf("%s: C says %s, Go %d", name, found[1], want)
		}
	}
}

// TestHookNames covers what pins and messages call the hooks.
func TestHookNames(t *testing.T) {
	t.Parallel()
	for hook, want := range []string{"container", "uplink", "bridge", "socket", "resolver", "unknown"} {
		if got := datapath.Hook(hook).String(); got != want {
			t.Errorf("hook %d is called %s, want %s", hook, got, want)
		}
	}
}
