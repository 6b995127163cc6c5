package container

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/shim"
)

// Adopt finds again what an earlier daemon left: containers whose shim answers
// are watched again, the others are ended, and what belongs to none of the
// running ones is taken away. It goes on after errors and returns them all.
func (m *Manager) Adopt(ctx context.Context) error {
	// First everybody is counted: a sandbox must not go with one that ended
	// while another is still in it.
	endpoints := m.endpointsBySandbox()
	var ended []*container
	var errs []error
	for _, r := range m.List() {
		c, err := m.find(r.ID)
		if err != nil || r.State != Running {
			continue
		}
		m.sandboxes.adopt(r.Sandbox, endpoints[r.Sandbox])
		conn, err := shim.Dial(shim.Socket(m.Dirs.Shim(r.ID)))
		if err != nil {
			ended = append(ended, c)
			continue
		}
		errs = append(errs, m.adoptNames(r))
		m.watch(c, conn, r.Pid == 0)
	}
	for _, c := range ended {
		r := m.snapshot(c)
		m.Log.Info("a container ended while the daemon was away", "container", r.Name)
		errs = append(errs, m.signalHidden(r, sigkill)) // nobody could tell of its end
		m.finish(c, m.lastExit(r.ID))
	}
	running := m.running()
	errs = append(errs, m.removeEnded(), m.sweepEndpoints(ctx), m.sweepShims(running), m.sweepSandboxes(), m.sweepFiles(), m.restoreDirs())
	for id := range endpoints {
		m.followAddress(id) // what the earlier daemon did not live to write
	}
	return errors.Join(errs...)
}

// endpointsBySandbox returns the IDs of the endpoints of our sandboxes.
func (m *Manager) endpointsBySandbox() map[string]string {
	ids := map[string]string{}
	for _, endpoint := range m.Engine.Endpoints("") {
		dir, id := filepath.Split(endpoint.Sandbox)
		if filepath.Clean(dir) == m.Dirs.Netns() {
			ids[id] = endpoint.ID
		}
	}
	return ids
}

// restoreDirs makes again what somebody has removed of containers' directories;
// the next start fills them.
func (m *Manager) restoreDirs() error {
	var errs []error
	for _, r := range m.List() {
		errs = append(errs, os.MkdirAll(m.Dirs.Container(r.ID), 0o700))
	}
	return errors.Join(errs...)
}

// removeEnded removes the containers that ended and were to be removed then.
func (m *Manager) removeEnded() error {
	var errs []error
	for _, r := range m.List() {
		if !r.Config.HostConfig.AutoRemove || r.State == Running || r.State == Created && r.Error == "" {
			continue
		}
		errs = append(errs, m.Remove(context.Background(), r.ID, false))
	}
	return errors.Join(errs...)
}

// running returns the IDs of the containers that run.
func (m *Manager) running() map[string]bool {
	ids := map[string]bool{}
	for _, r := range m.List() {
		if r.State == Running {
			ids[r.ID] = true
		}
	}
	return ids
}

// sweepEndpoints deletes the endpoints of our sandboxes that nobody is in.
func (m *Manager) sweepEndpoints(ctx context.Context) error {
	var errs []error
	for sandbox, endpoint := range m.endpointsBySandbox() {
		if !m.sandboxes.lives(sandbox) {
			errs = append(errs, m.Engine.DeleteEndpoint(ctx, endpoint))
		}
	}
	return errors.Join(errs...)
}

// sweepShims ends shims whose start was never acknowledged, and follows the
// further processes of running containers.
func (m *Manager) sweepShims(running map[string]bool) error {
	var errs []error
	for _, name := range entries(m.Dirs.Shims()) {
		id, _, further := strings.Cut(name, execSeparator)
		if running[id] && !further {
			continue
		}
		if conn, err := shim.Dial(shim.Socket(m.Dirs.Shim(name))); err == nil {
			if running[id] {
				go m.followExec(name, conn)
				continue
			}
			errs = append(errs, conn.Signal(sigkill))
			_, _ = conn.Wait()
			_ = conn.Close()
		}
		errs = append(errs, shim.Remove(m.Dirs.Shim(name)))
	}
	return errors.Join(errs...)
}

func (m *Manager) sweepSandboxes() error {
	var errs []error
	for _, id := range entries(m.Dirs.Netns()) {
		if !m.sandboxes.lives(id) {
			errs = append(errs, netdev.DeleteNamespace(m.Dirs.Sandbox(id)))
		}
	}
	return errors.Join(errs...)
}

// sweepFiles removes the directories of containers that have no record, and
// whose sandbox nobody uses.
func (m *Manager) sweepFiles() error {
	var errs []error
	for _, id := range entries(m.Dirs.Containers()) {
		if m.record(id) == nil && !m.sandboxes.lives(id) {
			errs = append(errs, os.RemoveAll(m.Dirs.Container(id)))
		}
	}
	return errors.Join(errs...)
}

// entries returns the names in a directory; one that is not there has none.
func entries(dir string) []string {
	found, _ := os.ReadDir(dir)
	var names []string
	for _, entry := range found {
		names = append(names, entry.Name())
	}
	return names
}

// Reset ends every container and removes it. It goes on after errors and
// returns them all.
func (m *Manager) Reset(ctx context.Context) error {
	var errs []error
	for _, r := range m.List() {
		errs = append(errs, m.Remove(ctx, r.ID, true))
	}
	return errors.Join(append(errs, m.sweepShims(nil), m.sweepSandboxes(), m.sweepFiles())...)
}
