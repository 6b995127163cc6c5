package container

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/portspec"
)

// Inspect returns what Docker's inspect would say of a container.
func (m *Manager) Inspect(ref string) (api.Container, error) {
	c, err := m.find(ref)
	if err != nil {
		return api.Container{}, err
	}
	r := m.snapshot(c)
	network, err := m.Engine.Network(r.NetworkID)
	if err != nil && !r.Joined() { // what it joined may be gone, and its network since
		return api.Container{}, fmt.Errorf("the network of container %s: %w", r.Name, err)
	}
	f := filesOf(m.Dirs, r.Sandbox)
	out := api.Container{
		ID:              r.ID,
		Created:         r.Created.UTC(),
		Args:            []string{},
		State:           stateOf(r),
		ResolvConfPath:  f.resolvConf(),
		HostnamePath:    f.hostname(),
		HostsPath:       f.hosts(),
		LogPath:         filesOf(m.Dirs, r.ID).log(),
		Name:            "/" + r.Name,
		Driver:          "host",
		HostConfig:      m.hostConfigOf(r, network),
		Config:          configOf(r),
		NetworkSettings: m.networkSettings(r, network),
	}
	if len(r.Config.Cmd) > 0 {
		out.Path, out.Args = r.Config.Cmd[0], r.Config.Cmd[1:]
	}
	if r.Config.HostConfig.Rootfs != "" {
		out.Driver = "rootfs"
	}
	return out, nil
}

func stateOf(r Record) api.ContainerState {
	return api.ContainerState{
		Status:     string(r.State),
		Running:    r.State == Running,
		Pid:        r.Pid,
		ExitCode:   r.ExitCode,
		Error:      r.Error,
		StartedAt:  r.StartedAt.UTC(),
		FinishedAt: r.FinishedAt.UTC(),
	}
}

func (m *Manager) hostConfigOf(r Record, network engine.Network) api.InspectHostConfig {
	h := r.Config.HostConfig
	mode := h.NetworkMode
	if mode == "" {
		mode = network.Name
	}
	return api.InspectHostConfig{
		NetworkMode:  mode,
		PortBindings: PortMap(r.Ports),
		AutoRemove:   h.AutoRemove,
		Privileged:   h.Privileged,
		CapAdd:       h.CapAdd,
		CapDrop:      h.CapDrop,
		ExtraHosts:   h.ExtraHosts,
		Links:        m.linkPaths(r, network),
		DNS:          h.DNS,
		Rootfs:       h.Rootfs,
	}
}

func configOf(r Record) api.ContainerConfig {
	exposed := map[string]struct{}{}
	for port := range PortMap(r.Ports) {
		exposed[port] = struct{}{}
	}
	return api.ContainerConfig{
		Hostname:     r.Hostname(),
		ExposedPorts: exposed,
		Tty:          r.Config.Tty,
		OpenStdin:    r.Config.OpenStdin,
		Env:          environment(r, r.Config.Env),
		Cmd:          r.Config.Cmd,
		WorkingDir:   r.Config.WorkingDir,
		Labels:       map[string]string{},
	}
}

func (m *Manager) networkSettings(r Record, network engine.Network) api.NetworkSettings {
	endpoint := m.EndpointOf(r)
	settings := api.NetworkSettings{
		Ports:    PortMap(endpoint.Ports),
		Networks: map[string]*api.EndpointSettings{},
	}
	if network.ID == "" {
		return settings
	}
	settings.Networks[network.Name] = m.endpointSettings(r, network, endpoint)
	if r.State == Running {
		settings.SandboxID = r.Sandbox
		settings.SandboxKey = m.sandboxKey(r, network)
	}
	// Docker repeats the default bridge's addresses at the top.
	if network.Name == engine.NetworkBridge {
		s := settings.Networks[network.Name]
		settings.EndpointID, settings.Gateway, settings.MacAddress = s.EndpointID, s.Gateway, s.MacAddress
		settings.IPAddress, settings.IPPrefixLen = s.IPAddress, s.IPPrefixLen
		settings.IPv6Gateway = s.IPv6Gateway
		settings.GlobalIPv6Address, settings.GlobalIPv6PrefixLen = s.GlobalIPv6Address, s.GlobalIPv6PrefixLen
	}
	return settings
}

// sandboxKey is the path of the container's network namespace.
func (m *Manager) sandboxKey(r Record, network engine.Network) string {
	if network.Driver == engine.DriverHost {
		return fmt.Sprintf("/proc/%d/ns/net", r.Pid)
	}
	return m.Dirs.Sandbox(r.Sandbox)
}

func (m *Manager) endpointSettings(r Record, network engine.Network, endpoint engine.Endpoint) *api.EndpointSettings {
	settings := &api.EndpointSettings{NetworkID: network.ID, Links: m.privateAliases(r, network)}
	if r.Requested.IsValid() || r.Requested6.IsValid() {
		settings.IPAMConfig = &api.EndpointIPAMConfig{IPv4Address: text(r.Requested), IPv6Address: text(r.Requested6)}
	}
	if endpoint.ID == "" {
		return settings
	}
	settings.EndpointID = endpoint.ID
	if !network.Predefined() {
		settings.Aliases = append(slices.Clone(endpoint.Aliases), r.Sandbox[:12])
	}
	settings.Gateway = network.Gateway.String()
	settings.IPAddress = endpoint.Address.String()
	settings.IPPrefixLen = network.Subnet.Bits()
	settings.MacAddress = endpoint.MAC.String()
	if network.HasIPv6() {
		settings.IPv6Gateway = network.Gateway6.String()
		settings.GlobalIPv6Address = endpoint.Address6.String()
		settings.GlobalIPv6PrefixLen = network.Subnet6.Bits()
	}
	return settings
}

// text is an address as Docker writes it: a zero one as "".
func text(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	return addr.String()
}

// PortMap returns ports in Docker's shape, a range port by port.
func PortMap(ports []engine.PublishedPort) api.PortMap {
	bindings := api.PortMap{}
	for _, p := range ports {
		last := max(p.TargetLast, p.Target)
		for target := int(p.Target); target <= int(last); target++ {
			key := fmt.Sprintf("%d/%s", target, portspec.ProtocolName(p.Protocol))
			bindings[key] = append(bindings[key], api.PortBinding{
				HostIP:   text(p.HostAddr),
				HostPort: hostPort(p, target-int(p.Target)),
			})
		}
	}
	return bindings
}

// hostPort is the port of the host for the n-th port of a range: "" while the
// engine has still to choose it, FIRST-LAST for a choice out of several.
func hostPort(p engine.PublishedPort, n int) string {
	switch {
	case p.First == 0:
		return ""
	case p.Last != p.First && p.TargetLast == p.Target:
		return fmt.Sprintf("%d-%d", p.First, p.Last)
	}
	return strconv.Itoa(int(p.First) + n)
}
