package container

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/portspec"
)

// Summaries returns the containers as `ps` lists them; without all only those
// that run.
func (m *Manager) Summaries(all bool) []api.ContainerSummary {
	summaries := []api.ContainerSummary{}
	now := time.Now()
	for _, r := range m.List() {
		if all || r.State == Running {
			summaries = append(summaries, m.summary(r, now))
		}
	}
	return summaries
}

func (m *Manager) summary(r Record, now time.Time) api.ContainerSummary {
	s := api.ContainerSummary{
		ID:      r.ID,
		Names:   []string{"/" + r.Name},
		Command: strings.Join(r.Config.Cmd, " "),
		Created: r.Created.Unix(),
		Ports:   PortSummaries(m.EndpointOf(r).Ports),
		State:   string(r.State),
		Status:  status(r, now),
	}
	if network, err := m.Engine.Network(r.NetworkID); err == nil {
		s.HostConfig.NetworkMode = network.Name
		if r.Joined() {
			s.HostConfig.NetworkMode = r.Config.HostConfig.NetworkMode
		}
		s.Networks = []string{network.Name}
	}
	return s
}

// PortSummaries returns ports in the shape of a listing, a range as one.
func PortSummaries(ports []engine.PublishedPort) []api.PortSummary {
	summaries := make([]api.PortSummary, 0, len(ports))
	for _, p := range ports {
		port := api.PortSummary{
			IP:          text(p.HostAddr),
			PrivatePort: p.Target,
			PublicPort:  p.First,
			Type:        portspec.ProtocolName(p.Protocol),
		}
		if p.Last != p.First || p.TargetLast > p.Target {
			port.PublicPortEnd, port.PrivatePortEnd = p.Last, max(p.Target, p.TargetLast)
		}
		summaries = append(summaries, port)
	}
	return summaries
}

// status says in Docker's words for how long a container has been in its state.
func status(r Record, now time.Time) string {
	switch r.State {
	case Running:
		return "Up " + api.Words(now.Sub(r.StartedAt))
	case Exited:
		return fmt.Sprintf("Exited (%d) %s ago", r.ExitCode, api.Words(now.Sub(r.FinishedAt)))
	}
	return "Created"
}
