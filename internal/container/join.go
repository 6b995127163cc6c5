package container

import (
	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/engine"
)

// joinPrefix begins a network mode that names a container.
const joinPrefix = "container:"

// intendJoin makes a new container one that joins another's sandbox. Who names
// a container that joined one itself means the same sandbox.
func (m *Manager) intendJoin(r *Record, ref string) error {
	if ref == "" {
		return apierr.BadParameter("invalid network mode: use container:NAME or container:ID")
	}
	if err := refuseOwnNetworking(r.Config); err != nil {
		return err
	}
	target, err := m.Get(ref)
	if err != nil {
		return err
	}
	r.Config.HostConfig.NetworkMode = joinPrefix + target.ID
	r.Config.Hostname = target.Config.Hostname
	if network, err := m.Engine.Network(target.NetworkID); err == nil && network.Driver != engine.DriverHost {
		r.Config.Hostname = target.Hostname()
	}
	r.NetworkID, r.Sandbox = target.NetworkID, target.Sandbox
	return nil
}

// refuseOwnNetworking refuses what the other container has decided already, in
// Docker's words.
func refuseOwnNetworking(config api.CreateContainer) error {
	h := config.HostConfig
	for _, conflict := range []struct {
		asked bool
		words string
	}{
		{config.Hostname != "", "conflicting options: hostname and the network mode"},
		{len(h.Links) > 0, "conflicting options: container type network can't be used with links. This would result in undefined behavior"},
		{len(h.DNS) > 0, "conflicting options: dns and the network mode"},
		{len(h.ExtraHosts) > 0, "conflicting options: custom host-to-IP mapping and the network mode"},
		{len(h.Publish) > 0, "conflicting options: port publishing and the container type network mode"},
		{config.IPAddress != "", "conflicting options: --ip and the network mode: user specified IP address is supported on user defined networks only"},
		{config.IPv6Address != "", "conflicting options: --ip6 and the network mode: user specified IP address is supported on user defined networks only"},
		{len(config.Aliases) > 0, "conflicting options: --network-alias and the network mode: network-scoped alias is supported only for containers in user defined networks"},
	} {
		if conflict.asked {
			return apierr.BadParameter("%s", conflict.words)
		}
	}
	return nil
}

// join makes a container a user of another one's sandbox. As in Docker the
// other must run; here it is enough that somebody does who keeps the sandbox.
func (m *Manager) join(r Record) error {
	if m.sandboxes.join(r.Sandbox) {
		return nil
	}
	return apierr.Conflict("cannot join network of a non running container: %s", r.Config.HostConfig.NetworkMode[len(joinPrefix):])
}
