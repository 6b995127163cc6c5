package engine

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/netdev"
)

// EndpointRequest is what a front asks of a new endpoint.
type EndpointRequest struct {
	NetworkID string
	Owner     string     // what listings and messages call it
	Sandbox   string     // path of a network namespace
	Device    string     // name inside the sandbox, usually eth0
	Address   netip.Addr // zero for the lowest free one
	Address6  netip.Addr // likewise, in a network with IPv6
	Names     []string   // of this endpoint alone
	Aliases   []string   // which other endpoints of the network may have too
	// Ports are to be published: Rule is 0, and First may be 0, or First to
	// Last a range to choose one port from (see PublishedPort.TargetLast).
	Ports []PublishedPort
}

// CreateEndpoint attaches a sandbox to a network and publishes its ports. When
// it fails it leaves nothing.
func (e *Engine) CreateEndpoint(ctx context.Context, req EndpointRequest) (Endpoint, error) {
	e.graveyard.disturb()
	e.verb.Lock()
	defer e.verb.Unlock()
	n, ep, err := e.intendEndpoint(req)
	if err != nil {
		return Endpoint{}, err
	}
	if err := e.endpointPlan(n, &ep).apply(ctx, e.log); err != nil {
		return Endpoint{}, err
	}
	e.linkLater()
	e.announce(n, ep)
	e.log.Info("endpoint created", "id", ep.ID, "owner", ep.Owner, "network", n.Name, "addresses", ep.Addresses())
	return ep, nil
}

// intendEndpoint validates a request and completes it, but for the addresses.
func (e *Engine) intendEndpoint(req EndpointRequest) (Network, Endpoint, error) {
	n, err := e.registry.findNetwork(req.NetworkID)
	if err != nil {
		return n, Endpoint{}, err
	}
	if n.Driver != DriverBridge {
		return n, Endpoint{}, apierr.BadParameter("network %s has no endpoints: it is not a bridge", n.Name)
	}
	if err := e.validateSandbox(req); err != nil {
		return n, Endpoint{}, err
	}
	if req.Address6.IsValid() && !n.HasIPv6() {
		return n, Endpoint{}, apierr.BadParameter("invalid address %s: network %s has no IPv6: make one with `network create --ipv6`", req.Address6, n.Name)
	}
	ports, err := e.resolvePorts(n, req.Ports)
	if err != nil {
		return n, Endpoint{}, err
	}
	index, err := e.registry.endpointIndexes.free(1)
	if err != nil {
		return n, Endpoint{}, err
	}
	hostDevice, err := e.freeHostDevice()
	if err != nil {
		return n, Endpoint{}, err
	}
	return n, Endpoint{
		ID:         newID(),
		NetworkID:  n.ID,
		Owned:      true,
		Owner:      req.Owner,
		Sandbox:    req.Sandbox,
		Device:     req.Device,
		HostDevice: hostDevice,
		Requested:  req.Address,
		Requested6: req.Address6,
		Names:      req.Names,
		Aliases:    req.Aliases,
		Index:      index[0],
		Ports:      ports,
	}, nil
}

func (e *Engine) validateSandbox(req EndpointRequest) error {
	if !netdev.NamespaceExists(req.Sandbox) {
		return apierr.BadParameter("sandbox %s of %s: not a network namespace", req.Sandbox, req.Owner)
	}
	e.graveyard.settleIn(req.Sandbox)
	for other := range e.registry.endpointSeq() {
		if other.Sandbox == req.Sandbox && other.Device == req.Device {
			return apierr.Conflict("%s is connected already: its sandbox has a device %s", req.Owner, req.Device)
		}
	}
	return nil
}

// freeHostDevice returns a name that no device of the host has, nor any that
// we are about to make.
func (e *Engine) freeHostDevice() (string, error) {
	for {
		name := "veth" + randomHex(7)
		ifindex, err := e.devices.Ifindex(name)
		if err != nil {
			return "", err
		}
		if ifindex == 0 && !e.registry.ownsDevice(name) {
			return name, nil
		}
	}
}

// RenameEndpoint gives an endpoint another owner and other names. It is no
// error when there is none.
func (e *Engine) RenameEndpoint(id, owner string, names []string) error {
	e.verb.Lock()
	defer e.verb.Unlock()
	ep, err := e.registry.findEndpoint(id)
	if err != nil {
		return nil
	}
	ep.Owner, ep.Names = owner, names
	return e.registry.updateEndpoint(ep)
}

// DeleteEndpoint takes an endpoint away and gives its addresses back. It is no
// error when there is none.
func (e *Engine) DeleteEndpoint(_ context.Context, id string) error {
	e.graveyard.disturb()
	e.verb.Lock()
	defer e.verb.Unlock()
	ep, err := e.registry.findEndpoint(id)
	if err != nil {
		return nil
	}
	return e.removeEndpoint(ep)
}

func (e *Engine) removeEndpoint(ep Endpoint) error {
	n, err := e.registry.findNetwork(ep.NetworkID)
	if err != nil {
		return err
	}
	if err := e.endpointPlan(n, &ep).teardown(); err != nil {
		return fmt.Errorf("remove the endpoint of %s from network %s: %w", ep.Owner, n.Name, err)
	}
	e.disconnect(ep.Addresses(), everyConnection)
	e.log.Info("endpoint removed", "id", ep.ID, "owner", ep.Owner, "network", n.Name, "addresses", ep.Addresses())
	return nil
}
