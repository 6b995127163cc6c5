package container

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/sluice-net/sluice/internal/shim"
)

const (
	sigkill = syscall.SIGKILL
	sigterm = syscall.SIGTERM
)

// exitUnknown is the exit code of a command whose shim was killed, which kills
// the command.
const exitUnknown = 128 + int(syscall.SIGKILL)

// exitReboot is the exit code of a command that the machine's end has ended, as
// Docker gives it.
const exitReboot = 255

// watch follows a running container to its end. With starting, the command
// waits for a client, and its PID is still to come.
func (m *Manager) watch(c *container, conn *shim.Conn, starting bool) {
	m.mu.Lock()
	c.done = make(chan struct{})
	m.mu.Unlock()
	ended := make(chan struct{})
	go func() { // a closed manager watches no more, and the container goes on
		select {
		case <-m.closed:
		case <-ended:
		}
		_ = conn.Close()
	}()
	m.watchers.Go(func() {
		defer close(ended)
		exit := m.follow(c, conn, starting)
		select {
		case <-m.closed:
		default:
			m.finish(c, exit)
		}
	})
}

// follow waits for the command's end.
func (m *Manager) follow(c *container, conn *shim.Conn, starting bool) shim.Exit {
	if starting {
		pid, err := conn.Started()
		var start *shim.StartError
		if errors.As(err, &start) {
			return shim.Exit{Code: start.Code, Time: time.Now(), Error: start.Message}
		}
		if err == nil {
			err = m.update(c, func(r *Record) { r.Pid = pid })
		}
		if err != nil {
			m.Log.Error("follow a start", "container", m.snapshot(c).Name, "error", err)
		}
	}
	code, err := conn.Wait()
	if err == nil {
		return shim.Exit{Code: code, Time: time.Now()}
	}
	return m.lastExit(m.snapshot(c).ID)
}

// lastExit is how a command whose shim is gone ended.
func (m *Manager) lastExit(id string) shim.Exit {
	exit, err := shim.ReadExit(m.Dirs.Shim(id))
	switch {
	case err == nil:
		return exit
	case m.Rebooted:
		return shim.Exit{Code: exitReboot, Time: time.Now()}
	}
	return shim.Exit{Code: exitUnknown, Time: time.Now()}
}

// finish releases what the command had and notes its end, and only then removes
// the shim's directory, which knows how it ended. A container that was to be
// removed with its end is.
func (m *Manager) finish(c *container, exit shim.Exit) {
	c.verb.Lock()
	defer c.verb.Unlock()
	r := m.snapshot(c)
	if err := m.leaveSandbox(r); err != nil {
		m.Log.Error("release a container that ended", "container", r.Name, "error", err)
	}
	err := m.noteEnd(c, r, exit)
	m.mu.Lock()
	if c.done != nil {
		close(c.done)
		c.done = nil
	}
	m.mu.Unlock()
	if err != nil {
		m.Log.Error("note the end of a container", "container", r.Name, "error", err)
	} else if err := shim.Remove(m.Dirs.Shim(r.ID)); err != nil {
		m.Log.Error("remove a shim's directory", "container", r.Name, "error", err)
	}
}

// noteEnd notes how a container ended, or removes one that was to be removed
// with its end. Where that cannot be stored, it has ended all the same: the next
// daemon learns it from the shim's directory.
func (m *Manager) noteEnd(c *container, r Record, exit shim.Exit) error {
	ended := func(r *Record) {
		r.State, r.Pid = Exited, 0
		if exit.Error != "" {
			r.State = Created
		}
		r.ExitCode, r.Error, r.FinishedAt = exit.Code, exit.Error, exit.Time
	}
	m.mu.Lock()
	remove := c.removing || r.Config.HostConfig.AutoRemove
	if remove {
		ended(&c.record)
	}
	m.mu.Unlock()
	if remove {
		if err := m.forget(c, r.ID); err != nil {
			m.Log.Error("remove a container that ended", "container", r.Name, "error", err)
		}
		if m.removed(c) {
			return nil
		}
	}
	err := m.update(c, ended)
	if err != nil {
		m.mu.Lock()
		ended(&c.record)
		m.mu.Unlock()
	}
	return err
}

// forget removes a container that does not run; c.verb is held. Its files stay
// while others use its sandbox, which has them bound. A sandbox that could not be
// taken away with its last command is now.
func (m *Manager) forget(c *container, id string) error {
	r := m.snapshot(c)
	if m.sandboxes.abandoned(r.Sandbox) {
		if err := m.leaveSandbox(r); err != nil {
			return err
		}
	}
	if err := m.Store.Delete(bucket, id); err != nil {
		return err
	}
	m.mu.Lock()
	delete(m.containers, id)
	c.gone = true
	m.mu.Unlock()
	err := errors.Join(m.handOver(r), m.unlink(r))
	if m.sandboxes.lives(id) {
		return errors.Join(err, os.RemoveAll(filesOf(m.Dirs, id).log()))
	}
	return errors.Join(err, os.RemoveAll(m.Dirs.Container(id)), shim.Remove(m.Dirs.Shim(id)))
}
