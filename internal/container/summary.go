package container

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluice-net/sluice/internal/api"
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
		Ports:   []api.PortSummary{},
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
	for _, p := range m.EndpointOf(r).Ports {
		port := api.PortSummary{
			IP:          p.HostAddr.String(),
			PrivatePort: p.Target,
			PublicPort:  p.First,
			Type:        portspec.ProtocolName(p.Protocol),
		}
		if p.Last != p.First {
			port.PublicPortEnd, port.PrivatePortEnd = p.Last, p.TargetLast
		}
		s.Ports = append(s.Ports, port)
	}
	return s
}

// status says in Docker's words for how long a container has been in its state.
func status(r Record, now time.Time) string {
	switch r.State {
	case Running:
		return "Up " + Duration(now.Sub(r.StartedAt))
	case Exited:
		return fmt.Sprintf("Exited (%d) %s ago", r.ExitCode, Duration(now.Sub(r.FinishedAt)))
	}
	return "Created"
}

// Duration rounds a duration to words as Docker does.
func Duration(d time.Duration) string {
	seconds := int(d.Seconds())
	hours := int(d.Hours() + 0.5)
	switch {
	case seconds < 1:
		return "Less than a second"
	case seconds == 1:
		return "1 second"
	case seconds < 60:
		return fmt.Sprintf("%d seconds", seconds)
	case seconds < 120:
		return "About a minute"
	case seconds < 3600:
		return fmt.Sprintf("%d minutes", seconds/60)
	case hours == 1:
		return "About an hour"
	case hours < 48:
		return fmt.Sprintf("%d hours", hours)
	case hours < 24*14:
		return fmt.Sprintf("%d days", hours/24)
	case hours < 24*60:
		return fmt.Sprintf("%d weeks", hours/24/7)
	case hours < 24*365*2:
		return fmt.Sprintf("%d months", hours/24/30)
	}
	return fmt.Sprintf("%d years", hours/24/365)
}
