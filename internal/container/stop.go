package container

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/shim"
)

// Stop asks a container's command to end, and kills it after the timeout. New
// connections to its aliases go to others from the beginning on, and those that
// it has can come to their end. One that does not run is no error.
func (m *Manager) Stop(ctx context.Context, ref string, timeout time.Duration) error {
	c, err := m.find(ref)
	if err != nil {
		return err
	}
	done := m.doneOf(c)
	if done == nil {
		return nil
	}
	m.drain(m.snapshot(c), true)
	if err := m.signal(c, sigterm); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-time.After(timeout):
		return m.kill(ctx, c, done)
	case <-ctx.Done():
		m.drain(m.snapshot(c), false)
		return ctx.Err()
	}
}

// drain takes a container that still runs out of the turn of its aliases, or
// puts it back. While others share its sandbox it stays: they may be whom its
// clients want.
func (m *Manager) drain(r Record, drain bool) {
	id := m.sandboxes.endpointID(r.Sandbox)
	if id == "" || drain && m.sandboxes.shared(r.Sandbox) {
		return
	}
	if err := m.Engine.DrainEndpoint(id, drain); err != nil {
		m.Log.Warn("the turn of a container's aliases", "container", r.Name, "drain", drain, "error", err)
	}
}

// Kill sends a container's command a signal. After SIGKILL it waits for the end.
func (m *Manager) Kill(ctx context.Context, ref string, signal syscall.Signal) error {
	c, err := m.find(ref)
	if err != nil {
		return err
	}
	done := m.doneOf(c)
	if done == nil {
		return apierr.Conflict("Cannot kill container: %s: Container %s is not running", ref, m.snapshot(c).ID)
	}
	if signal == sigkill {
		return m.kill(ctx, c, done)
	}
	return m.signal(c, signal)
}

// Wait waits for the end of a container's command and returns its exit code.
func (m *Manager) Wait(ctx context.Context, ref string) (code int, err error) {
	c, err := m.find(ref)
	if err != nil {
		return 0, err
	}
	if done := m.doneOf(c); done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return m.snapshot(c).ExitCode, nil
}

// Remove removes a container; with force one that runs too.
func (m *Manager) Remove(ctx context.Context, ref string, force bool) error {
	c, err := m.find(ref)
	if err != nil {
		return err
	}
	for ctx.Err() == nil { // a start may be under way
		if done := m.doneOf(c); done != nil {
			if !force {
				r := m.snapshot(c)
				return apierr.Conflict("You cannot remove a running container %s. Stop the container before attempting removal or force remove", r.ID)
			}
			m.setRemoving(c, true)
			if err := m.kill(ctx, c, done); err != nil {
				m.setRemoving(c, false)
				return err
			}
		}
		if removed, err := m.removeEndedOne(c); removed || err != nil {
			return err
		}
	}
	return ctx.Err()
}

// setRemoving says whether a command's end is to remove its container: one
// record less than to note the end first.
func (m *Manager) setRemoving(c *container, removing bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.removing = removing
}

// removeEndedOne removes a container unless it runs.
func (m *Manager) removeEndedOne(c *container) (removed bool, err error) {
	c.verb.Lock()
	defer c.verb.Unlock()
	if m.removed(c) {
		return true, nil // it was to be removed with its end
	}
	r := m.snapshot(c)
	if r.State == Running {
		return false, nil
	}
	return true, m.forget(c, r.ID)
}

// doneOf returns the channel that the command's end closes, nil when it does
// not run.
func (m *Manager) doneOf(c *container) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return c.done
}

func (m *Manager) signal(c *container, signal syscall.Signal) error {
	r := m.snapshot(c)
	conn, err := shim.Dial(shim.Socket(m.Dirs.Shim(r.ID)))
	if err != nil {
		return m.signalHidden(r, signal) // or no shim: the command has ended
	}
	err = conn.Signal(signal)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		err = nil // the shim is going: the command has ended
	}
	return errors.Join(err, conn.Close())
}

func (m *Manager) kill(ctx context.Context, c *container, done chan struct{}) error {
	if err := m.signal(c, sigkill); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
