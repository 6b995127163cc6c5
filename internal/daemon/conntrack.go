package daemon

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/apiserver"
	"github.com/sluice-net/sluice/internal/conntrack"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/maps"
)

// ListFlows returns the flows that a filter picks, by protocol, source and
// destination.
func (b *backend) ListFlows(_ context.Context, f api.FlowFilter) (apiserver.Stream[api.Flow], error) {
	flows, names, err := b.flows(f)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(flows, func(a, b maps.Flow) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), a.Source.Compare(b.Source), a.Destination.Compare(b.Destination))
	})
	return func(emit func(api.Flow) error) error {
		for _, flow := range flows {
			if err := emit(names.describe(flow)); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// CountFlows returns how many flows a filter picks.
func (b *backend) CountFlows(_ context.Context, f api.FlowFilter) (api.FlowCount, error) {
	flows, _, err := b.flows(f)
	return api.FlowCount{Count: len(flows)}, err
}

// FlushFlows ends the flows that a filter picks: their next packets are of no
// flow.
func (b *backend) FlushFlows(ctx context.Context, body api.FlushFlows) (count api.FlowCount, err error) {
	if body.FlowFilter == (api.FlowFilter{}) && !body.All {
		return count, apierr.BadParameter("say which flows to flush, or all of them")
	}
	flows, _, err := b.flows(body.FlowFilter)
	if err != nil {
		return count, err
	}
	for _, flow := range flows {
		if err := ctx.Err(); err != nil {
			return count, err
		}
		deleted, err := b.maps.DeleteFlow(flow)
		if err != nil {
			return count, err
		}
		if deleted {
			count.Count++
		}
	}
	return count, nil
}

// flows returns what a filter picks, and the names for it.
func (b *backend) flows(f api.FlowFilter) ([]maps.Flow, *flowNames, error) {
	filter, err := conntrack.Parse(f)
	if err != nil {
		return nil, nil, err
	}
	container := ""
	if f.Container != "" {
		if container, err = b.containerName(f.Container); err != nil {
			return nil, nil, err
		}
	}
	flows, err := b.maps.Flows(b.loader.Timeouts().Of)
	if err != nil {
		return nil, nil, err
	}
	names, err := b.flowNames()
	if err != nil {
		return nil, nil, err
	}
	flows = slices.DeleteFunc(flows, func(flow maps.Flow) bool {
		return !filter.Matches(flow) ||
			container != "" && names.endpoints[flow.Endpoint] != container && names.endpoints[flow.Peer] != container
	})
	return flows, names, nil
}

// flowNames are what users call the endpoints and rules that flows know by
// their indexes.
type flowNames struct {
	endpoints map[uint32]string
	rules     map[uint32]engine.RuleView
}

func (b *backend) flowNames() (*flowNames, error) {
	names := &flowNames{endpoints: map[uint32]string{}, rules: map[uint32]engine.RuleView{}}
	for _, ep := range b.engine.Endpoints("") {
		names.endpoints[ep.Index] = ep.Owner
	}
	rules, err := b.engine.Rules()
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		names.rules[r.Index] = r
	}
	return names, nil
}

// describe is a flow in the API's shape.
func (n *flowNames) describe(f maps.Flow) api.Flow {
	flow := api.Flow{
		Family:   "ipv6",
		Protocol: conntrack.ProtocolName(f.Protocol),
		State:    conntrack.State(f),
		Age:      int(f.Age.Seconds()), Idle: int(f.Idle.Seconds()), Left: int(f.Left.Seconds()),
		Container: n.endpoints[f.Endpoint],
		Peer:      n.endpoints[f.Peer],
	}
	if f.Source.Addr().Is4() {
		flow.Family = "ipv4"
	}
	show := netip.AddrPort.String
	if f.Protocol == unix.IPPROTO_ICMP || f.Protocol == unix.IPPROTO_ICMPV6 {
		flow.ID, flow.TranslatedID = f.Source.Port(), f.TranslatedSource.Port()
		show = func(a netip.AddrPort) string { return a.Addr().String() }
	}
	flow.Source, flow.Destination = show(f.Source), show(f.Destination)
	flow.TranslatedSource, flow.TranslatedDestination = show(f.TranslatedSource), show(f.TranslatedDestination)
	if rule, known := n.rules[f.Rule]; known {
		flow.Kind, flow.Rule = describeRule(rule)
	}
	return flow
}

func describeRule(r engine.RuleView) (kind, rule string) {
	switch r.Kind {
	case maps.RuleMasquerade:
		return "masquerade", r.Network.Name
	case maps.RulePublish:
		return "publish", strings.TrimPrefix(strings.TrimPrefix(r.Port.String(), "0.0.0.0:"), "[::]:")
	}
	return "alias", r.Alias.Name
}
