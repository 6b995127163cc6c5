package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-net/sluice/internal/apierr"
)

// NetworkRequest is what a user asks of a new network.
type NetworkRequest struct {
	Name     string
	Driver   string // "" for DriverBridge
	Subnet   string // ADDRESS/LENGTH; "" for the first default pool that is free
	Gateway  string // address; "" for the subnet's first one
	IPv6     bool   // with IPv6 beside IPv4: Subnet6 and Gateway6 are likewise
	Subnet6  string
	Gateway6 string
	Internal bool
	// AliasMode is an AliasMode; "" for AliasVIP.
	AliasMode string
	Labels    map[string]string
	Options   map[string]string
}

// Names of the networks that are there from the start, and the device of the
// one that is a bridge.
const (
	NetworkBridge = "bridge"
	NetworkHost   = "host"
	NetworkNone   = "none"

	defaultBridge = "sluice0"
)

// Predefined reports whether the network is there from the start.
func (n Network) Predefined() bool {
	return n.Name == NetworkBridge || n.Name == NetworkHost || n.Name == NetworkNone
}

// CreateNetwork makes a bridge network.
func (e *Engine) CreateNetwork(ctx context.Context, req NetworkRequest) (Network, error) {
	e.graveyard.disturb()
	e.verb.Lock()
	n, err := e.createNetwork(ctx, req, func(id string) string { return "br-" + shortID(id) })
	if err != nil {
		e.verb.Unlock()
		return n, err
	}
	go func() { // the next verb waits, and whoever asked need not
		defer e.verb.Unlock()
		if err := e.attachBridge(n); err != nil {
			e.log.Error("a network takes no endpoint before this is mended", "network", n.Name, "error", err)
		}
	}()
	return n, nil
}

// createNetwork makes a bridge network whose device deviceName names. Its
// program is still to be attached.
func (e *Engine) createNetwork(ctx context.Context, req NetworkRequest, deviceName func(id string) string) (Network, error) {
	n, err := e.intendNetwork(req)
	if err != nil {
		return Network{}, err
	}
	n.Bridge = deviceName(n.ID)
	if ifindex, err := e.devices.Ifindex(n.Bridge); err != nil {
		return Network{}, err
	} else if ifindex != 0 {
		return Network{}, apierr.Conflict("the host has a device %s that is not ours: rename or remove it", n.Bridge)
	}
	if err := e.networkPlan(n).apply(ctx, e.log); err != nil {
		return Network{}, err
	}
	e.log.Info("network created", "name", n.Name, "id", n.ID, "subnet", n.Subnet, "subnet6", n.Subnet6, "bridge", n.Bridge)
	return n, nil
}

// intendNetwork validates a request and completes it. The bridge's name is
// left open.
func (e *Engine) intendNetwork(req NetworkRequest) (Network, error) {
	if err := validateName(req.Name); err != nil {
		return Network{}, err
	}
	if err := validateDriver(req.Driver); err != nil {
		return Network{}, err
	}
	for option := range req.Options {
		return Network{}, apierr.BadParameter("driver %s has no option %q", DriverBridge, option)
	}
	if _, taken := e.registry.networkNamed(req.Name); taken {
		return Network{}, apierr.Conflict("network with name %s already exists", req.Name)
	}
	mode, err := parseAliasMode(req.AliasMode)
	if err != nil {
		return Network{}, err
	}
	subnet, gateway, err := e.chooseSubnet(req.Subnet, req.Gateway)
	if err != nil {
		return Network{}, err
	}
	subnet6, gateway6, err := e.chooseSubnet6(req)
	if err != nil {
		return Network{}, err
	}
	n := Network{
		ID:        newID(),
		Name:      req.Name,
		Driver:    DriverBridge,
		Owned:     true,
		Internal:  req.Internal,
		AliasMode: mode,
		Labels:    req.Labels,
		Options:   req.Options,
		Created:   time.Now(),
		Subnet:    subnet,
		Gateway:   gateway,
		Subnet6:   subnet6,
		Gateway6:  gateway6,
	}
	return n, e.numberNetwork(&n)
}

func (e *Engine) numberNetwork(n *Network) error {
	index, err := e.registry.networkIndexes.free(1)
	if err != nil {
		return err
	}
	n.Index = uint16(index[0])
	if n.Internal {
		return nil
	}
	rule, err := e.registry.ruleIndexes.free(1)
	if err != nil {
		return err
	}
	n.Rule = rule[0]
	return nil
}

func validateDriver(driver string) error {
	switch driver {
	case "", DriverBridge:
		return nil
	case DriverHost, DriverNull:
		return apierr.Forbidden("only one instance of %q network is allowed", driver)
	}
	return apierr.NotFound("network driver %q not found: the only one is %q", driver, DriverBridge)
}

// RemoveNetwork removes a network that has no endpoints.
func (e *Engine) RemoveNetwork(_ context.Context, ref string) error {
	e.graveyard.disturb()
	e.verb.Lock()
	defer e.verb.Unlock()
	n, err := e.registry.findNetwork(ref)
	if err != nil {
		return err
	}
	if n.Predefined() {
		return apierr.Forbidden("%s is a pre-defined network and cannot be removed", n.Name)
	}
	if endpoints := e.registry.endpointsOf(n.ID); len(endpoints) > 0 {
		var active []string
		for _, ep := range endpoints {
			active = append(active, fmt.Sprintf("name:%q id:%q", ep.Owner, shortID(ep.ID)))
		}
		return apierr.Forbidden("error while removing network: network %s has active endpoints (%s)", n.Name, strings.Join(active, ", "))
	}
	if err := e.networkPlan(n).teardown(); err != nil {
		return fmt.Errorf("remove network %s: %w", n.Name, err)
	}
	e.log.Info("network removed", "name", n.Name, "id", n.ID)
	return nil
}
