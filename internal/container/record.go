// Package container keeps containers: what `run` knows and the engine does not.
// A container is a record in the store, a directory with its files and log,
// and, while it runs, a shim, a sandbox and an endpoint.
package container

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/dirs"
	"github.com/sluice-net/sluice/internal/engine"
)

// State is where a container is in its life.
type State string

// The states, in Docker's words.
const (
	Created State = "created"
	Running State = "running"
	Exited  State = "exited"
)

// bucket of the store.
const bucket = "containers"

// Record is what the store holds of a container.
type Record struct {
	ID        string // 64 hex digits
	Name      string
	Created   time.Time
	Config    api.CreateContainer
	NetworkID string
	Sandbox   string // ID of the container whose sandbox it is in: its own, unless it joined another's
	Links     []Link
	// Requested and Requested6 are the addresses asked for; zero for any.
	Requested, Requested6 netip.Addr

	Ports []engine.PublishedPort // wanted with a start; those in force are the endpoint's

	State      State
	Pid        int // in the host's PID namespace, while it runs
	ExitCode   int
	Error      string // why it did not start
	StartedAt  time.Time
	FinishedAt time.Time
}

// ShortID is the ID as listings show it.
func (r Record) ShortID() string { return r.ID[:12] }

// Joined reports whether the container shares another one's sandbox.
func (r Record) Joined() bool { return r.Sandbox != r.ID }

// Warnings are about wishes that the container's network does not fulfil, as
// Docker's.
func (r Record) Warnings() []string {
	if len(r.Config.HostConfig.Publish) > len(r.Ports) {
		return []string{fmt.Sprintf("Published ports are discarded when using %s network mode", r.Config.HostConfig.NetworkMode)}
	}
	return []string{}
}

// Hostname is the one asked for, or the short ID.
func (r Record) Hostname() string {
	if r.Config.Hostname != "" {
		return r.Config.Hostname
	}
	return r.ShortID()
}

// files are the paths of a container's own files. What names the network is the
// sandbox's, and so that of the container whose sandbox it is.
type files struct{ dir string }

func filesOf(d dirs.Dirs, id string) files { return files{d.Container(id)} }

func (f files) hosts() string      { return filepath.Join(f.dir, "hosts") }
func (f files) hostname() string   { return filepath.Join(f.dir, "hostname") }
func (f files) resolvConf() string { return filepath.Join(f.dir, "resolv.conf") }
func (f files) log() string        { return filepath.Join(f.dir, "log") }
