package engine

import "github.com/sluice-net/sluice/maps"

// RuleView is a rule in force and what it has counted.
type RuleView struct {
	Kind    maps.RuleKind
	Index   uint32
	Network Network
	// Endpoint and Port are those of a published port.
	Endpoint Endpoint
	Port     PublishedPort
	// Alias and Members are those of an alias.
	Alias   Alias
	Members []Endpoint

	Counters maps.RuleCounters
}

// Rules returns the masquerade rules by the networks' names, each followed by
// the published ports of the network's endpoints and by its aliases.
func (e *Engine) Rules() ([]RuleView, error) {
	var views []RuleView
	for _, n := range e.registry.allNetworks() {
		if n.Rule != 0 {
			views = append(views, RuleView{Kind: maps.RuleMasquerade, Index: n.Rule, Network: n})
		}
		for _, ep := range e.registry.endpointsOf(n.ID) {
			for _, p := range ep.Ports {
				views = append(views, RuleView{Kind: maps.RulePublish, Index: p.Rule, Network: n, Endpoint: ep, Port: p})
			}
		}
		for _, a := range e.registry.allAliases() {
			if a.NetworkID == n.ID {
				views = append(views, RuleView{Kind: maps.RuleAlias, Index: a.Rule, Network: n, Alias: a, Members: e.members(a, "")})
			}
		}
	}
	if err := e.count(views); err != nil {
		return nil, err
	}
	return views, nil
}

// PublishedPorts returns the published ports of all endpoints in no order.
func (e *Engine) PublishedPorts() ([]RuleView, error) {
	networks := e.registry.networksByID()
	var views []RuleView
	for ep := range e.registry.endpointSeq() {
		for _, p := range ep.Ports {
			views = append(views, RuleView{Kind: maps.RulePublish, Index: p.Rule, Network: networks[ep.NetworkID], Endpoint: ep, Port: p})
		}
	}
	if err := e.count(views); err != nil {
		return nil, err
	}
	return views, nil
}

// count reads the counters of rules.
func (e *Engine) count(views []RuleView) error {
	var last uint32
	for _, v := range views {
		last = max(last, v.Index)
	}
	counters, err := e.datapath.AllRuleCounters(last)
	if err != nil {
		return err
	}
	for i := range views {
		views[i].Counters = counters[views[i].Index]
	}
	return nil
}
