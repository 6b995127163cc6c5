package daemon

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/apiserver"
	"github.com/sluice-net/sluice/internal/container"
)

// backend answers the API from an instance.
type backend struct {
	*instance
	stop      func()
	resetting atomic.Bool
	making    sync.RWMutex // held for reading by verbs that make things
}

// whole runs a verb that makes something, unless a reset has begun; a reset
// waits for it. Without that, the verb would make what the reset has passed.
func whole[T any](b *backend, verb func() (T, error)) (made T, err error) {
	b.making.RLock()
	defer b.making.RUnlock()
	if b.resetting.Load() {
		return made, apierr.Conflict("a reset is under way")
	}
	return verb()
}

var _ apiserver.Backend = (*backend)(nil)

func (b *backend) CreateContainer(_ context.Context, body api.CreateContainer) (api.CreateContainerResponse, error) {
	return whole(b, func() (api.CreateContainerResponse, error) {
		r, err := b.containers.Create(body)
		return api.CreateContainerResponse{ID: r.ID, Warnings: r.Warnings()}, err
	})
}

func (b *backend) StartContainer(ctx context.Context, ref string, body api.StartContainer) (api.StartResponse, error) {
	return whole(b, func() (api.StartResponse, error) {
		socket, err := b.containers.Start(ctx, ref, body.Hold)
		return api.StartResponse{Socket: socket}, err
	})
}

func (b *backend) StopContainer(ctx context.Context, ref string, timeout time.Duration) error {
	return b.containers.Stop(ctx, ref, timeout)
}

func (b *backend) KillContainer(ctx context.Context, ref, signal string) error {
	number, err := parseSignal(signal)
	if err != nil {
		return err
	}
	return b.containers.Kill(ctx, ref, number)
}

// parseSignal reads a signal's number or name, with SIG or without; "" is KILL.
func parseSignal(s string) (syscall.Signal, error) {
	if s == "" {
		return unix.SIGKILL, nil
	}
	if number, err := strconv.Atoi(s); err == nil && number > 0 && number <= 64 {
		return syscall.Signal(number), nil
	}
	if number := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")); number != 0 {
		return number, nil
	}
	return 0, apierr.BadParameter("Invalid signal: %s", s)
}

func (b *backend) RemoveContainer(ctx context.Context, ref string, force bool) error {
	return b.containers.Remove(ctx, ref, force)
}

func (b *backend) WaitContainer(ctx context.Context, ref string) (api.WaitResponse, error) {
	code, err := b.containers.Wait(ctx, ref)
	return api.WaitResponse{StatusCode: code}, err
}

func (b *backend) ListContainers(_ context.Context, all bool) ([]api.ContainerSummary, error) {
	return b.containers.Summaries(all), nil
}

func (b *backend) InspectContainer(_ context.Context, ref string) (api.Container, error) {
	return b.containers.Inspect(ref)
}

func (b *backend) Exec(_ context.Context, ref string, body api.Exec) (api.StartResponse, error) {
	return whole(b, func() (api.StartResponse, error) {
		socket, err := b.containers.Exec(ref, body)
		return api.StartResponse{Socket: socket}, err
	})
}

func (b *backend) Logs(ctx context.Context, ref string, o api.LogOptions, stdout, stderr io.Writer) error {
	return b.containers.Logs(ctx, ref, container.LogOptions(o), stdout, stderr)
}

func (b *backend) Publish(ctx context.Context, ref string, body api.PublishPorts) (api.PublishPortsResponse, error) {
	return whole(b, func() (api.PublishPortsResponse, error) {
		ports, err := b.containers.Publish(ctx, ref, body.Ports)
		return api.PublishPortsResponse{Ports: container.PortSummaries(ports)}, err
	})
}

func (b *backend) Unpublish(ctx context.Context, ref string, body api.PublishPorts) (api.PublishPortsResponse, error) {
	ports, err := b.containers.Unpublish(ctx, ref, body.Ports)
	return api.PublishPortsResponse{Ports: container.PortSummaries(ports)}, err
}

// Reset takes everything away, and only then answers. The daemon ends after
// the answer, also when something could not be taken away: what is left is in
// the error.
func (b *backend) Reset(ctx context.Context) error {
	if b.resetting.Swap(true) {
		return apierr.Conflict("a reset is under way")
	}
	defer b.stop()
	b.making.Lock() // those that had begun are through, others are refused
	//lint:ignore SA2001 there is nothing to do but to wait for them
	b.making.Unlock()
	if err := b.instance.reset(ctx); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	return nil
}
