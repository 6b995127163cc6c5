package daemon

import (
	"context"
	"net/netip"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/engine"
)

func (b *backend) CreateNetwork(ctx context.Context, body api.CreateNetwork) (api.CreateNetworkResponse, error) {
	req := engine.NetworkRequest{
		Name: body.Name, Driver: body.Driver, IPv6: body.EnableIPv6, Internal: body.Internal, AliasMode: body.AliasMode,
		Labels: body.Labels, Options: body.Options,
	}
	for _, c := range body.IPAM.Config {
		if err := req.AddSubnet(c.Subnet, c.Gateway); err != nil {
			return api.CreateNetworkResponse{}, err
		}
	}
	return whole(b, func() (api.CreateNetworkResponse, error) {
		network, err := b.engine.CreateNetwork(ctx, req)
		return api.CreateNetworkResponse{ID: network.ID}, err
	})
}

func (b *backend) RemoveNetwork(ctx context.Context, ref string) error {
	network, err := b.engine.Network(ref)
	if err != nil {
		return err
	}
	// Stopped containers keep their network: they could not start again.
	for _, r := range b.containers.List() {
		if r.NetworkID == network.ID && !r.Joined() && b.containers.EndpointOf(r).ID == "" {
			return apierr.Forbidden("error while removing network: network %s is used by container %s, which is not running: remove it first", network.Name, r.Name)
		}
	}
	return b.engine.RemoveNetwork(ctx, ref)
}

func (b *backend) ListNetworks(context.Context) ([]api.Network, error) {
	networks := []api.Network{}
	for _, n := range b.engine.Networks() {
		networks = append(networks, b.network(n))
	}
	return networks, nil
}

func (b *backend) InspectNetwork(_ context.Context, ref string) (api.Network, error) {
	n, err := b.engine.Network(ref)
	if err != nil {
		return api.Network{}, err
	}
	return b.network(n), nil
}

// network is a network in Docker's shape.
func (b *backend) network(n engine.Network) api.Network {
	out := api.Network{
		Name:       n.Name,
		ID:         n.ID,
		Created:    n.Created,
		Scope:      "local",
		Driver:     n.Driver,
		EnableIPv6: n.HasIPv6(),
		IPAM:       api.IPAM{Driver: "default", Config: []api.IPAMConfig{}},
		Internal:   n.Internal,
		AliasMode:  string(n.AliasMode),
		Containers: map[string]api.NetworkContainer{},
		Options:    orEmpty(n.Options),
		Labels:     orEmpty(n.Labels),
	}
	if n.Driver != engine.DriverBridge {
		return out
	}
	out.IPAM.Config = append(out.IPAM.Config, api.IPAMConfig{Subnet: n.Subnet.String(), Gateway: n.Gateway.String()})
	if n.HasIPv6() {
		out.IPAM.Config = append(out.IPAM.Config, api.IPAMConfig{Subnet: n.Subnet6.String(), Gateway: n.Gateway6.String()})
	}
	byEndpoint := map[string]string{}
	for _, r := range b.containers.List() {
		byEndpoint[b.containers.EndpointOf(r).ID] = r.ID // of those who share one, the first that was created
	}
	for _, ep := range b.engine.Endpoints(n.ID) {
		id := byEndpoint[ep.ID]
		if id == "" {
			id = "ep-" + ep.ID // as Docker names an endpoint that no container has
		}
		out.Containers[id] = networkContainer(n, ep)
	}
	return out
}

func networkContainer(n engine.Network, ep engine.Endpoint) api.NetworkContainer {
	out := api.NetworkContainer{
		Name:        ep.Owner,
		EndpointID:  ep.ID,
		MacAddress:  ep.MAC.String(),
		IPv4Address: netip.PrefixFrom(ep.Address, n.Subnet.Bits()).String(),
	}
	if n.HasIPv6() {
		out.IPv6Address = netip.PrefixFrom(ep.Address6, n.Subnet6.Bits()).String()
	}
	return out
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
