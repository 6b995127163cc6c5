package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/maps"
)

// Publish lets ports of the host lead to an endpoint, besides those that do
// already, and returns them with what the request left open. When it fails
// nothing has changed.
func (e *Engine) Publish(ctx context.Context, endpointID string, requests []PublishedPort) ([]PublishedPort, error) {
	e.graveyard.disturb()
	e.verb.Lock()
	defer e.verb.Unlock()
	ep, n, err := e.endpointAndNetwork(endpointID)
	if err != nil {
		return nil, err
	}
	ports, err := e.resolvePorts(n, requests)
	if err != nil {
		return nil, err
	}
	with := ep
	with.Ports = slices.Concat(ep.Ports, ports)
	if err := e.publishPlan(n, ep, with, ports).apply(ctx, e.log); err != nil {
		return nil, err
	}
	e.log.Info("ports published", "endpoint", ep.ID, "owner", ep.Owner, "count", len(ports))
	return ports, nil
}

// Unpublish withdraws ports of an endpoint, and returns them when nothing reaches
// it by them any more. A request names a port as Withdraw says.
func (e *Engine) Unpublish(ctx context.Context, endpointID string, requests []PublishedPort) ([]PublishedPort, error) {
	e.graveyard.disturb()
	e.verb.Lock()
	defer e.verb.Unlock()
	ep, n, err := e.endpointAndNetwork(endpointID)
	if err != nil {
		return nil, err
	}
	kept, withdrawn, err := Withdraw(ep.Owner, ep.Ports, requests)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	without := ep
	without.Ports = kept
	// What publishing them again would do, taken back.
	if err := e.publishPlan(n, without, ep, withdrawn).teardown(); err != nil {
		return nil, fmt.Errorf("withdraw ports of %s: %w", ep.Owner, err)
	}
	e.disconnect(ep.Addresses(), e.cameBy(withdrawn))
	e.log.Info("ports withdrawn", "endpoint", ep.ID, "owner", ep.Owner, "count", len(withdrawn))
	return withdrawn, nil
}

func (e *Engine) endpointAndNetwork(id string) (Endpoint, Network, error) {
	ep, err := e.registry.findEndpoint(id)
	if err != nil {
		return ep, Network{}, err
	}
	n, err := e.registry.findNetwork(ep.NetworkID)
	return ep, n, err
}

// publishPlan turns an endpoint without ports into the same one with them.
func (e *Engine) publishPlan(n Network, without, with Endpoint, ports []PublishedPort) plan {
	p := plan{{
		name: "record",
		do:   func() error { return e.registry.updateEndpoint(with) },
		undo: func() error { return e.registry.updateEndpoint(without) },
	}, {
		name: "translate",
		do:   func() error { return e.rewriteEndpoint(n, with) },
		undo: func() error { return e.rewriteEndpoint(n, without) },
	}}
	return append(p, e.publishStep(with.Index, ports), step{
		name: "sockets",
		do:   func() error { return e.refuseTakenBySockets(ports) },
	})
}

// rewriteEndpoint tells the datapath anew of an endpoint that is in service.
func (e *Engine) rewriteEndpoint(n Network, ep Endpoint) error {
	ifindex, err := e.existing(ep.HostDevice)
	if err != nil {
		return err
	}
	return e.writeEndpoint(n, ep, ifindex, true)
}

// publishStep lets ports lead to the endpoint with the index.
func (e *Engine) publishStep(endpoint uint32, ports []PublishedPort) step {
	rules, indexes := make([]maps.IndexedRule, 0, len(ports)), make([]uint32, 0, len(ports))
	for _, p := range ports {
		indexes = append(indexes, p.Rule)
		rules = append(rules, maps.IndexedRule{Index: p.Rule, Rule: maps.Rule{
			Kind:     maps.RulePublish,
			Protocol: p.Protocol,
			HostAddr: p.HostAddr,
			First:    p.First,
			Last:     p.Last,
			Target:   p.Target,
			Endpoint: endpoint,
		}})
	}
	return step{
		name: "publish",
		do: func() error {
			err := e.datapath.SetRules(rules)
			var chain *maps.ChainError
			if errors.As(err, &chain) {
				return apierr.Conflict("Bind for %s failed: %s", hostPorts(chain.Rule.HostAddr, chain.Rule.First, chain.Rule.Last), chain)
			}
			return err
		},
		undo: func() error { return e.datapath.ClearRules(indexes) },
	}
}
