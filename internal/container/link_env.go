package container

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-net/sluice/internal/portspec"
)

// linkVariables are the variables by which a container of the default network
// finds those that it is linked to, in Docker's spelling: DB_PORT_80_TCP_ADDR.
// A process has those of its start.
func (m *Manager) linkVariables(r Record) []string {
	network, err := m.Engine.Network(r.NetworkID)
	if err != nil || !network.Predefined() {
		return nil
	}
	var env []string
	for _, link := range r.Links {
		if target := m.record(link.Target); target != nil {
			env = append(env, describeTarget(r, link, *target, m.EndpointOf(*target).Address)...)
		}
	}
	return env
}

// describeTarget returns the variables for one link. A container's ports are
// those that it publishes: there are no images to name others.
func describeTarget(r Record, link Link, target Record, addr netip.Addr) []string {
	prefix := strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(link.Alias))
	var env []string
	var ports []string
	if addr.IsValid() {
		ports = targetPorts(target)
	}
	for _, port := range ports {
		number, protocol, _ := strings.Cut(port, "/")
		url := fmt.Sprintf("%s://%s:%s", protocol, addr, number)
		if len(env) == 0 {
			env = append(env, prefix+"_PORT="+url)
		}
		name := fmt.Sprintf("%s_PORT_%s_%s", prefix, number, strings.ToUpper(protocol))
		env = append(env, name+"="+url, name+"_ADDR="+addr.String(), name+"_PORT="+number, name+"_PROTO="+protocol)
	}
	env = append(env, prefix+"_NAME="+linkPath(r, link))
	for _, variable := range target.Config.Env {
		env = append(env, prefix+"_ENV_"+variable)
	}
	return env
}

// targetPorts returns each port that a container publishes once, as "80/tcp",
// the lowest first.
func targetPorts(target Record) []string {
	type port struct {
		number   int
		protocol string
	}
	var all []port
	for _, p := range target.Ports {
		for number := int(p.Target); number <= int(max(p.Target, p.TargetLast)); number++ {
			all = append(all, port{number, portspec.ProtocolName(p.Protocol)})
		}
	}
	slices.SortFunc(all, func(a, b port) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.protocol, b.protocol))
	})
	var out []string
	for _, p := range slices.Compact(all) {
		out = append(out, fmt.Sprintf("%d/%s", p.number, p.protocol))
	}
	return out
}
