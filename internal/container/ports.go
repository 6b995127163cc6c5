package container

import (
	"context"
	"slices"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/portspec"
)

// Publish publishes further ports of a container, at once when its sandbox is
// there and with every start from now on. It returns what was published.
func (m *Manager) Publish(ctx context.Context, ref string, specs []string) ([]engine.PublishedPort, error) {
	return m.changePorts(ref, specs, func(r *Record, ports []engine.PublishedPort) (published []engine.PublishedPort, err error) {
		wanted := slices.Concat(r.Ports, ports)
		if endpoint := m.EndpointOf(*r); endpoint.ID != "" {
			published, err = m.Engine.Publish(ctx, endpoint.ID, ports)
		} else {
			published, err = ports, engine.CheckApart(wanted)
		}
		r.Ports = wanted
		return published, err
	})
}

// Unpublish withdraws ports that were published, and returns them.
func (m *Manager) Unpublish(ctx context.Context, ref string, specs []string) ([]engine.PublishedPort, error) {
	return m.changePorts(ref, specs, func(r *Record, ports []engine.PublishedPort) (withdrawn []engine.PublishedPort, err error) {
		if endpoint := m.EndpointOf(*r); endpoint.ID != "" {
			withdrawn, err = m.Engine.Unpublish(ctx, endpoint.ID, ports)
			r.Ports = engine.Forget(r.Ports, withdrawn, m.EndpointOf(*r).Ports)
		} else {
			r.Ports, withdrawn, err = engine.Withdraw(r.Name, r.Ports, ports)
		}
		return withdrawn, err
	})
}

// changePorts changes the ports of a container, or of the one whose sandbox it
// has joined.
func (m *Manager) changePorts(ref string, specs []string, change func(*Record, []engine.PublishedPort) ([]engine.PublishedPort, error)) ([]engine.PublishedPort, error) {
	c, err := m.find(ref)
	if err != nil {
		return nil, err
	}
	if c, err = m.ownerOf(c); err != nil {
		return nil, err
	}
	var ports []engine.PublishedPort
	for _, spec := range specs {
		parsed, err := portspec.Parse(spec)
		if err != nil {
			return nil, err
		}
		ports = append(ports, engine.PortFromSpec(parsed))
	}
	if len(ports) == 0 {
		return nil, apierr.BadParameter("no port is named")
	}
	c.verb.Lock()
	defer c.verb.Unlock()
	r := m.snapshot(c)
	network, err := m.Engine.Network(r.NetworkID)
	if err != nil {
		return nil, err
	}
	if network.Driver != engine.DriverBridge {
		return nil, apierr.BadParameter("container %s is in network %s: only bridge networks publish ports", r.Name, network.Name)
	}
	changed, err := change(&r, ports)
	if err != nil {
		return nil, err
	}
	return changed, m.update(c, func(record *Record) { record.Ports = r.Ports })
}

// ownerOf returns the container whose sandbox the container is in.
func (m *Manager) ownerOf(c *container) (*container, error) {
	r := m.snapshot(c)
	if !r.Joined() {
		return c, nil
	}
	owner, err := m.find(r.Sandbox)
	if err != nil {
		return nil, apierr.Conflict("container %s has joined the network of one that was removed: its ports cannot be changed any more", r.Name)
	}
	return owner, nil
}
