package api

import (
	"context"
	"io"
	"time"
)

// Backend is what the server asks of the daemon. Its errors are those of
// package apierr where the user is at fault. A ref is a name, an ID, or the
// beginning of an ID.
type Backend interface {
	CreateContainer(ctx context.Context, body CreateContainer) (CreateContainerResponse, error)
	StartContainer(ctx context.Context, ref string, body StartContainer) (StartResponse, error)
	StopContainer(ctx context.Context, ref string, timeout time.Duration) error
	KillContainer(ctx context.Context, ref, signal string) error
	RemoveContainer(ctx context.Context, ref string, force bool) error
	WaitContainer(ctx context.Context, ref string) (WaitResponse, error)
	ListContainers(ctx context.Context, all bool) ([]ContainerSummary, error)
	InspectContainer(ctx context.Context, ref string) (Container, error)
	Exec(ctx context.Context, ref string, body Exec) (StartResponse, error)
	Logs(ctx context.Context, ref string, options LogOptions, stdout, stderr io.Writer) error
	Publish(ctx context.Context, ref string, body PublishPorts) (PublishPortsResponse, error)
	Unpublish(ctx context.Context, ref string, body PublishPorts) (PublishPortsResponse, error)

	CreateNetwork(ctx context.Context, body CreateNetwork) (CreateNetworkResponse, error)
	ListNetworks(ctx context.Context) ([]Network, error)
	InspectNetwork(ctx context.Context, ref string) (Network, error)
	RemoveNetwork(ctx context.Context, ref string) error

	NAT(ctx context.Context) ([]NATRule, error)
	Info(ctx context.Context) (Info, error)
	Version(ctx context.Context) (VersionInfo, error)
	// Reset takes everything away; the daemon ends once it has answered.
	Reset(ctx context.Context) error
}

// LogOptions choose from a container's log.
type LogOptions struct {
	Follow     bool
	Timestamps bool
	Tail       int // last lines; negative for all
	// Since and Until bound the entries' times; zero for no bound.
	Since, Until time.Time
}
