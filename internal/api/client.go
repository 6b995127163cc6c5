package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/sluice-net/sluice/internal/apierr"
)

// Client speaks to a daemon over its unix socket, each time by a connection of
// its own.
type Client struct{ socket string }

// NewClient returns a client of the daemon that listens at socket.
func NewClient(socket string) *Client { return &Client{socket} }

// ErrNoDaemon is returned when nobody listens at the socket.
var ErrNoDaemon = errors.New("cannot connect to the sluice daemon")

// ErrDaemonGone is returned when the daemon ends before it has answered.
var ErrDaemonGone = errors.New("the daemon went away during the request; start it again and see with `sluice ps -a` what was done")

// errNoReference is returned for what can be neither a name nor an ID.
var errNoReference = errors.New("invalid name or ID: it is empty, or made of dots alone")

// request sends body, if any, and returns the answer's body, which the caller
// closes. An answer with an error becomes an *apierr.Error.
func (c *Client) request(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	if path == "" {
		return nil, errNoReference
	}
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	a, err := exchange(ctx, c.socket, method, "/"+Version+path, raw)
	if err != nil {
		return nil, c.explain(err)
	}
	if a.status < 400 {
		return a, nil
	}
	defer a.Close()
	var failure ErrorResponse
	if err := json.NewDecoder(a).Decode(&failure); err != nil {
		return nil, fmt.Errorf("the daemon answered %d %s", a.status, a.reason)
	}
	return nil, &apierr.Error{Status: a.status, ExitCode: failure.ExitCode, Message: failure.Message}
}

func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w at %s: is it running? Start it with `sluice daemon`", ErrNoDaemon, c.socket)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w at %s: permission denied, run as root", ErrNoDaemon, c.socket)
	}
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return ErrDaemonGone
		}
	}
	return fmt.Errorf("the connection to the daemon: %w", err)
}

// call sends body and decodes the answer into answer; either may be nil.
func (c *Client) call(ctx context.Context, method, path string, body, answer any) error {
	reader, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer reader.Close()
	if answer == nil {
		return nil
	}
	err = json.NewDecoder(reader).Decode(answer)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrDaemonGone
	}
	if err != nil {
		return fmt.Errorf("the daemon's answer: %w", err)
	}
	return nil
}

// fetch is call with an answer.
func fetch[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var answer T
	err := c.call(ctx, method, path, body, &answer)
	return answer, err
}

func container(ref, action string) string { return object("/containers/", ref, action) }

func network(ref string) string { return object("/networks/", ref, "") }

// object is the path of what a reference names, "" for a reference that would be
// lost in it.
func object(kind, ref, action string) string {
	switch ref {
	case "", ".", "..":
		return ""
	}
	return kind + url.PathEscape(ref) + action
}

// CreateContainer records a container.
func (c *Client) CreateContainer(ctx context.Context, body CreateContainer) (CreateContainerResponse, error) {
	return fetch[CreateContainerResponse](ctx, c, "POST", "/containers/create", body)
}

// StartContainer starts a container's command.
func (c *Client) StartContainer(ctx context.Context, ref string, body StartContainer) (StartResponse, error) {
	return fetch[StartResponse](ctx, c, "POST", container(ref, "/start"), body)
}

// StopContainer ends a container's command, by force after the timeout.
func (c *Client) StopContainer(ctx context.Context, ref string, timeout time.Duration) error {
	return c.call(ctx, "POST", container(ref, "/stop?t="+strconv.Itoa(int(timeout.Seconds()))), nil, nil)
}

// KillContainer sends a container's command a signal, by name or number.
func (c *Client) KillContainer(ctx context.Context, ref, signal string) error {
	return c.call(ctx, "POST", container(ref, "/kill?signal="+url.QueryEscape(signal)), nil, nil)
}

// RemoveContainer removes a container; with force one that runs too.
func (c *Client) RemoveContainer(ctx context.Context, ref string, force bool) error {
	return c.call(ctx, "DELETE", container(ref, "?force="+strconv.FormatBool(force)), nil, nil)
}

// WaitContainer waits for the end of a container's command.
func (c *Client) WaitContainer(ctx context.Context, ref string) (WaitResponse, error) {
	return fetch[WaitResponse](ctx, c, "POST", container(ref, "/wait"), nil)
}

// ListContainers returns the containers that run, or all.
func (c *Client) ListContainers(ctx context.Context, all bool) ([]ContainerSummary, error) {
	return fetch[[]ContainerSummary](ctx, c, "GET", "/containers/json?all="+strconv.FormatBool(all), nil)
}

// InspectContainer returns everything about a container.
func (c *Client) InspectContainer(ctx context.Context, ref string) (Container, error) {
	return fetch[Container](ctx, c, "GET", container(ref, "/json"), nil)
}

// Exec prepares a further process in a container.
func (c *Client) Exec(ctx context.Context, ref string, body Exec) (StartResponse, error) {
	return fetch[StartResponse](ctx, c, "POST", container(ref, "/exec"), body)
}

// Logs copies a container's log.
func (c *Client) Logs(ctx context.Context, ref string, o LogOptions, stdout, stderr io.Writer) error {
	query := url.Values{
		"follow":     {strconv.FormatBool(o.Follow)},
		"timestamps": {strconv.FormatBool(o.Timestamps)},
	}
	if o.Tail >= 0 {
		query.Set("tail", strconv.Itoa(o.Tail))
	}
	for name, bound := range map[string]time.Time{"since": o.Since, "until": o.Until} {
		if !bound.IsZero() {
			query.Set(name, bound.Format(time.RFC3339Nano))
		}
	}
	reader, err := c.request(ctx, "GET", container(ref, "/logs?"+query.Encode()), nil)
	if err != nil {
		return err
	}
	defer reader.Close()
	return copyLogs(reader, stdout, stderr)
}

// Publish publishes further ports of a container.
func (c *Client) Publish(ctx context.Context, ref string, body PublishPorts) (PublishPortsResponse, error) {
	return fetch[PublishPortsResponse](ctx, c, "POST", container(ref, "/publish"), body)
}

// Unpublish withdraws ports of a container.
func (c *Client) Unpublish(ctx context.Context, ref string, body PublishPorts) (PublishPortsResponse, error) {
	return fetch[PublishPortsResponse](ctx, c, "POST", container(ref, "/unpublish"), body)
}

// CreateNetwork makes a network.
func (c *Client) CreateNetwork(ctx context.Context, body CreateNetwork) (CreateNetworkResponse, error) {
	return fetch[CreateNetworkResponse](ctx, c, "POST", "/networks/create", body)
}

// ListNetworks returns all networks.
func (c *Client) ListNetworks(ctx context.Context) ([]Network, error) {
	return fetch[[]Network](ctx, c, "GET", "/networks", nil)
}

// InspectNetwork returns everything about a network.
func (c *Client) InspectNetwork(ctx context.Context, ref string) (Network, error) {
	return fetch[Network](ctx, c, "GET", network(ref), nil)
}

// RemoveNetwork removes a network.
func (c *Client) RemoveNetwork(ctx context.Context, ref string) error {
	return c.call(ctx, "DELETE", network(ref), nil, nil)
}

// NAT returns the rules in force and their counters.
func (c *Client) NAT(ctx context.Context) ([]NATRule, error) {
	return fetch[[]NATRule](ctx, c, "GET", "/nat", nil)
}

// Info describes the instance.
func (c *Client) Info(ctx context.Context) (Info, error) {
	return fetch[Info](ctx, c, "GET", "/info", nil)
}

// Version describes the daemon.
func (c *Client) Version(ctx context.Context) (VersionInfo, error) {
	return fetch[VersionInfo](ctx, c, "GET", "/version", nil)
}

// Reset takes everything of the instance away and ends the daemon.
func (c *Client) Reset(ctx context.Context) error {
	return c.call(ctx, "POST", "/system/reset", nil, nil)
}
