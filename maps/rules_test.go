package maps_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

func TestPublishedPortIsStoredAsTheDatapathReadsIt(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetRule(3, publish(tcp, "192.0.2.1", 8080, 8082)))
	equal(t, "rule", get[datapath.Rule](k, "rules", uint32(3)), datapath.Rule{
		Endpoint: 5, Addr4: wire("192.0.2.1"), First: 8080, Last: 8082, Target: 9080,
		Kind: datapath.RulePublish, Protocol: tcp, Family: unix.AF_INET,
	})
	raw, err := k.byName["rules"].LookupBytes(uint32(3))
	must(t, err)
	if addr := raw[16:20]; !bytes.Equal(addr, []byte{192, 0, 2, 1}) {
		t.Errorf("address in memory: %v", addr)
	}
	for port, want := range map[uint32]uint32{8079: 0, 8080: 3, 8081: 3, 8082: 3, 8083: 0} {
		equal(t, "tcp port", get[uint32](k, "ports_tcp", port), want)
		equal(t, "udp port", get[uint32](k, "ports_udp", port), 0)
	}
	must(t, k.ClearRule(3))
	equal(t, "ports in use", k.usedPorts(tcp), 0)
	equal(t, "rule once it is gone", get[datapath.Rule](k, "rules", uint32(3)), datapath.Rule{Generation: 1})
}

func TestPublishedPortOfIPv6(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetRule(4, publish(tcp, "2001:db8::1", 8080, 8082)))
	equal(t, "rule of IPv6", get[datapath.Rule](k, "rules", uint32(4)), datapath.Rule{
		Endpoint: 5, Addr6: wire6("2001:db8::1"), First: 8080, Last: 8082, Target: 9080,
		Kind: datapath.RulePublish, Protocol: tcp, Family: unix.AF_INET6,
	})
	must(t, k.SetRule(5, publish(tcp, "::", 8080, 8080)))
	must(t, k.SetRule(6, publish(tcp, "0.0.0.0", 8080, 8080)))
	k.reopen() // all that is known of them is in the maps
	for addr, want := range map[string]uint32{"2001:db8::1": 4, "2001:db8::2": 5, "192.0.2.1": 6} {
		equal(t, "rule for "+addr, k.published(tcp, ip(addr), 8080), want)
	}
	must(t, k.ClearRule(5))
	equal(t, "rule for another address", k.published(tcp, ip("2001:db8::2"), 8080), 0)
	equal(t, "rule for IPv4", k.published(tcp, ip("192.0.2.1"), 8080), 6)
}

func TestEveryPortPublished(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetRule(3, publish(udp, "0.0.0.0", 1, 65535)))
	equal(t, "udp ports in use", k.usedPorts(udp), 65535)
	equal(t, "tcp ports in use", k.usedPorts(tcp), 0)
	equal(t, "rule of the last port", k.published(udp, ip("203.0.113.9"), 65535), 3)
	must(t, k.ClearRule(3))
	equal(t, "udp ports in use at the end", k.usedPorts(udp), 0)
}

func TestMasqueradeRule(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetRule(2, maps.Rule{Kind: maps.RuleMasquerade, Network: 7}))
	equal(t, "rule", get[datapath.Rule](k, "rules", uint32(2)), datapath.Rule{
		Kind: datapath.RuleMasquerade, Network: 7, Family: unix.AF_INET,
	})
	must(t, k.ClearRule(2))
	equal(t, "rule once it is gone", get[datapath.Rule](k, "rules", uint32(2)), datapath.Rule{Generation: 1})
}

// Flows live on while a rule is set to what it is, also by a daemon that has
// just started, and end when it changes or goes.
func TestRuleGeneration(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]maps.Rule{
		"masquerade":    {Kind: maps.RuleMasquerade, Network: 7},
		"every address": publish(tcp, "0.0.0.0", 8080, 8082),
		"one address":   publish(udp, "192.0.2.1", 8080, 8080),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKernel(t)
			must(t, k.ClearRule(3)) // not there
			equal(t, "before", k.generation(3), 0)
			must(t, k.SetRule(3, rule))
			must(t, k.SetRule(3, rule))
			k.reopen()
			must(t, k.SetRule(3, rule))
			equal(t, "after it is set again", k.generation(3), 0)
			changed := rule
			changed.Network, changed.Endpoint = 8, 6
			must(t, k.SetRule(3, changed))
			equal(t, "after a change", k.generation(3), 1)
			k.reopen()
			must(t, k.ClearRule(3))
			must(t, k.ClearRule(3))
			equal(t, "after it is cleared twice", k.generation(3), 2)
			equal(t, "ports in use", k.usedPorts(rule.Protocol), 0)
		})
	}
}

// Rules that share a port with another one keep their flows when that changes.
func TestNeighboursKeepTheirGeneration(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetRule(3, publish(tcp, "192.0.2.1", 80, 90)))
	must(t, k.SetRule(4, publish(tcp, "192.0.2.2", 80, 80)))
	must(t, k.SetRule(5, publish(tcp, "192.0.2.3", 90, 95)))
	must(t, k.ClearRule(3))
	equal(t, "of rule 4", k.generation(4), 0)
	equal(t, "of rule 5", k.generation(5), 0)
}

func TestCountersBeginAgainWithARule(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	rule := publish(tcp, "0.0.0.0", 8080, 8080)
	must(t, k.SetRule(3, rule))
	cpus := fill(k, "rule_counts", 3, datapath.RuleCounters{Flows: 1, Packets: 2})
	must(t, k.SetRule(3, rule))
	counters, err := k.RuleCounters(3)
	must(t, err)
	equal(t, "after it is set again", counters, maps.RuleCounters{Flows: cpus, Packets: 2 * cpus})
	must(t, k.ClearRule(3))
	counters, err = k.RuleCounters(3)
	must(t, err)
	equal(t, "after it is cleared", counters, maps.RuleCounters{})
}

func TestIndexChangesItsKind(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetRule(3, publish(tcp, "0.0.0.0", 80, 81)))
	must(t, k.SetRule(3, maps.Rule{Kind: maps.RuleMasquerade, Network: 1}))
	equal(t, "ports in use", k.usedPorts(tcp), 0)
	must(t, k.SetRule(3, publish(udp, "0.0.0.0", 80, 80)))
	equal(t, "rule of the port", k.published(udp, ip("192.0.2.1"), 80), 3)
	equal(t, "network", get[datapath.Rule](k, "rules", uint32(3)).Network, 0)
}

func TestRuleOutOfRange(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetRule(3, publish(tcp, "192.0.2.1", 80, 80)))
	beyond := k.byName["rules"].MaxEntries()
	for _, rule := range []maps.Rule{{Kind: maps.RuleMasquerade}, publish(tcp, "192.0.2.2", 80, 81)} {
		if k.SetRule(beyond, rule) == nil {
			t.Error("an index that the map does not have was taken")
		}
		equal(t, "ports in use", k.usedPorts(tcp), 1)
		equal(t, "rule of the port", k.published(tcp, ip("192.0.2.1"), 80), 3)
		equal(t, "end of its chain", get[datapath.Rule](k, "rules", uint32(3)).Next, 0)
	}
}
