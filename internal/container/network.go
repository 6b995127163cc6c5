package container

import (
	"context"
	"errors"
	"os"

	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/names"
	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/shim"
)

// enterSandbox makes the container a user of its sandbox. One of its own is
// made unless others have kept it since the container ended last. It calls
// habitable as soon as a process can be made in it, at the end at the latest.
func (m *Manager) enterSandbox(ctx context.Context, r Record, habitable func()) error {
	if r.Joined() {
		if err := m.join(r); err != nil {
			return err
		}
	} else {
		build := func() (string, error) { return m.buildSandbox(ctx, r, habitable) }
		if err := m.sandboxes.acquire(r.Sandbox, build); err != nil {
			return err
		}
	}
	habitable()
	m.drain(r, false) // whoever shared it may be stopping
	m.followAddress(r.Sandbox)
	return nil
}

// buildSandbox makes a container's network namespace, its endpoint, and the
// files that name it. It leaves nothing when it fails.
func (m *Manager) buildSandbox(ctx context.Context, r Record, habitable func()) (endpointID string, err error) {
	network, err := m.Engine.Network(r.NetworkID)
	if err != nil || network.Driver == engine.DriverHost {
		return "", err
	}
	if err := netdev.NewNamespace(m.Dirs.Sandbox(r.ID)); err != nil {
		return "", err
	}
	var endpoint engine.Endpoint
	defer func() {
		if err != nil {
			err = errors.Join(err, m.removeSandbox(r.ID, endpoint.ID))
		}
	}()
	f := filesOf(m.Dirs, r.ID)
	if err := writeFiles(f, r, network); err != nil {
		return "", err
	}
	habitable()
	serving := make(chan error)
	go func() { serving <- m.serveNames(r, network) }()
	if network.Driver == engine.DriverBridge {
		if endpoint, err = m.Engine.CreateEndpoint(ctx, m.endpointRequest(r, network)); err == nil {
			err = writeHosts(f, r, endpoint.Addresses())
		}
	}
	return endpoint.ID, errors.Join(err, <-serving)
}

// named reports whether containers find each other by name in the network.
func named(n engine.Network) bool { return n.Driver == engine.DriverBridge && !n.Predefined() }

// serveNames starts the name server of the container's own sandbox, if its
// network has names. What it does not know goes to the servers of --dns.
func (m *Manager) serveNames(r Record, network engine.Network) error {
	if !named(network) {
		return nil
	}
	servers, err := names.ParseServers(r.Config.HostConfig.DNS)
	if err != nil {
		return err
	}
	return m.Names.Serve(m.Dirs.Sandbox(r.Sandbox), servers)
}

// adoptNames starts the name server of a sandbox that an earlier daemon made.
func (m *Manager) adoptNames(r Record) error {
	network, err := m.Engine.Network(r.NetworkID)
	if err != nil {
		return err
	}
	if owner := m.record(r.Sandbox); owner != nil {
		r = *owner
	}
	return m.serveNames(r, network)
}

func (m *Manager) endpointRequest(r Record, network engine.Network) engine.EndpointRequest {
	req := engine.EndpointRequest{
		NetworkID: network.ID,
		Owner:     r.Name,
		Sandbox:   m.Dirs.Sandbox(r.ID),
		Device:    "eth0",
		Address:   r.Requested,
		Address6:  r.Requested6,
		Ports:     r.Ports,
	}
	if named(network) {
		req.Names, req.Aliases = namesOf(r), r.Config.Aliases
	}
	return req
}

// namesOf are the names that a container has for itself.
func namesOf(r Record) []string { return []string{r.Name, r.ShortID()} }

// handOver names an endpoint after another container that runs in its sandbox,
// when the one that it was named after is removed: its name is free from now on.
func (m *Manager) handOver(removed Record) error {
	endpoint := m.EndpointOf(removed)
	if endpoint.ID == "" || endpoint.Owner != removed.Name {
		return nil
	}
	for _, heir := range m.List() {
		if heir.Sandbox != removed.Sandbox || heir.State != Running {
			continue
		}
		var names []string
		if len(endpoint.Names) > 0 {
			names = namesOf(heir)
		}
		return m.Engine.RenameEndpoint(endpoint.ID, heir.Name, names)
	}
	return nil
}

// removeSandbox takes a sandbox away. Its endpoint's ID is "" if it has none.
func (m *Manager) removeSandbox(id, endpointID string) error {
	// First, because its sockets hold the namespace.
	if err := m.Names.Stop(m.Dirs.Sandbox(id)); err != nil {
		return err
	}
	if endpointID != "" {
		// The caller may be gone by now, and this must be done all the same.
		if err := m.Engine.DeleteEndpoint(context.Background(), endpointID); err != nil {
			return err
		}
	}
	return netdev.DeleteNamespace(m.Dirs.Sandbox(id))
}

// release takes away what a command had: its sandbox and its shim.
func (m *Manager) release(r Record) error {
	return errors.Join(m.leaveSandbox(r), shim.Remove(m.Dirs.Shim(r.ID)))
}

// leaveSandbox takes a container's sandbox away unless others use it. The files
// of a sandbox whose container was removed go with it.
func (m *Manager) leaveSandbox(r Record) error {
	err := m.sandboxes.release(r.Sandbox, func(endpointID string) error {
		return m.removeSandbox(r.Sandbox, endpointID)
	})
	if !m.sandboxes.lives(r.Sandbox) {
		m.followAddress(r.Sandbox)
		if m.record(r.Sandbox) == nil {
			err = errors.Join(err, os.RemoveAll(m.Dirs.Container(r.Sandbox)))
		}
	}
	return err
}

// EndpointOf returns the endpoint of the container's sandbox, which it has
// while anybody in there runs; its ID is "" without one.
func (m *Manager) EndpointOf(r Record) engine.Endpoint {
	id := m.sandboxes.endpointID(r.Sandbox)
	if id == "" {
		return engine.Endpoint{}
	}
	endpoint, err := m.Engine.Endpoint(id)
	if err != nil {
		return engine.Endpoint{}
	}
	return endpoint
}
