// Package dirs names every path that an instance owns. It does no I/O.
package dirs

import "path/filepath"

// DefaultState and DefaultRun are where an instance without --root keeps its
// state and its volatile files.
const (
	DefaultState = "/var/lib/sluice"
	DefaultRun   = "/run/sluice"
)

// Dirs are the paths of one instance.
type Dirs struct {
	// Root is what --root said, "" by default.
	Root string
	// State outlives a reboot; Run does not.
	State, Run string
}

// New returns the paths of the instance at root, or of the default instance
// when root is "".
func New(root string) Dirs {
	if root == "" {
		return Dirs{State: DefaultState, Run: DefaultRun}
	}
	return Dirs{Root: root, State: filepath.Join(root, "state"), Run: filepath.Join(root, "run")}
}

// DB is the bbolt database.
func (d Dirs) DB() string { return filepath.Join(d.State, "sluice.db") }

// ReservedPorts remembers the ports that were added to those that the host
// keeps from its sockets.
func (d Dirs) ReservedPorts() string { return filepath.Join(d.State, "reserved-ports.json") }

// Lock is held by the daemon while it runs.
func (d Dirs) Lock() string { return filepath.Join(d.Run, "daemon.lock") }

// Host says which network namespace is the host.
func (d Dirs) Host() string { return filepath.Join(d.Run, "host") }

// Borrowed remembers a setting of the host that has another value for a moment.
func (d Dirs) Borrowed() string { return filepath.Join(d.Run, "borrowed") }

// Socket is where the API listens.
func (d Dirs) Socket() string { return filepath.Join(d.Run, "sluice.sock") }

// BPF is the mount point of the instance's own bpffs.
func (d Dirs) BPF() string {
	if d.Root != "" {
		return filepath.Join(d.Root, "bpf")
	}
	return filepath.Join(d.Run, "bpf")
}

// Cgroup is the mount point of the instance's own cgroup2.
func (d Dirs) Cgroup() string { return filepath.Join(d.Run, "cgroup") }

// Netns is where the sandboxes' network namespaces are mounted.
func (d Dirs) Netns() string { return filepath.Join(d.Run, "netns") }

// Sandbox is the network namespace of the container id.
func (d Dirs) Sandbox(id string) string { return filepath.Join(d.Netns(), id) }

// Containers holds one directory per container that must outlive a reboot:
// its log, hosts, hostname and resolv.conf.
func (d Dirs) Containers() string { return filepath.Join(d.State, "containers") }

// Container is the directory of the container id.
func (d Dirs) Container(id string) string { return filepath.Join(d.Containers(), id) }

// Shims holds one directory per running process of a container.
func (d Dirs) Shims() string { return filepath.Join(d.Run, "shims") }

// Shim is the directory of the shim id: a container's ID, or an exec's.
func (d Dirs) Shim(id string) string { return filepath.Join(d.Shims(), id) }
