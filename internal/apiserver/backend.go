package apiserver

import (
	"context"
	"io"
	"time"

	"github.com/sluice-net/sluice/internal/api"
)

// Backend is what the server asks of the daemon. Its errors are those of
// package apierr where the user is at fault. A ref is a name, an ID, or the
// beginning of an ID.
type Backend interface {
	CreateContainer(ctx context.Context, body api.CreateContainer) (api.CreateContainerResponse, error)
	StartContainer(ctx context.Context, ref string, body api.StartContainer) (api.StartResponse, error)
	StopContainer(ctx context.Context, ref string, timeout time.Duration) error
	KillContainer(ctx context.Context, ref, signal string) error
	RemoveContainer(ctx context.Context, ref string, force bool) error
	WaitContainer(ctx context.Context, ref string) (api.WaitResponse, error)
	ListContainers(ctx context.Context, all bool) ([]api.ContainerSummary, error)
	InspectContainer(ctx context.Context, ref string) (api.Container, error)
	Exec(ctx context.Context, ref string, body api.Exec) (api.StartResponse, error)
	Logs(ctx context.Context, ref string, options api.LogOptions, stdout, stderr io.Writer) error
	Publish(ctx context.Context, ref string, body api.PublishPorts) (api.PublishPortsResponse, error)
	Unpublish(ctx context.Context, ref string, body api.PublishPorts) (api.PublishPortsResponse, error)

	CreateNetwork(ctx context.Context, body api.CreateNetwork) (api.CreateNetworkResponse, error)
	ListNetworks(ctx context.Context) ([]api.Network, error)
	InspectNetwork(ctx context.Context, ref string) (api.Network, error)
	RemoveNetwork(ctx context.Context, ref string) error

	NAT(ctx context.Context) ([]api.NATRule, error)
	ListFlows(ctx context.Context, f api.FlowFilter) (Stream[api.Flow], error)
	CountFlows(ctx context.Context, f api.FlowFilter) (api.FlowCount, error)
	FlushFlows(ctx context.Context, body api.FlushFlows) (api.FlowCount, error)
	// WatchDrops returns the drops from now on. The stream must be used, and
	// ends with ctx or the daemon.
	WatchDrops(ctx context.Context, o api.DropOptions) (Stream[api.Drop], error)
	Info(ctx context.Context) (api.Info, error)
	Doctor(ctx context.Context) ([]api.Finding, error)
	Version(ctx context.Context) (api.VersionInfo, error)
	// Reset takes everything away; the daemon ends once it has answered.
	Reset(ctx context.Context) error
}
