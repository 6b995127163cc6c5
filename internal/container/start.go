package container

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/shim"
)

// Start starts a container's command, unless it runs already, and returns the
// path of the shim's socket. With hold the command waits until a client
// attaches there. When Start fails it leaves nothing but the record.
func (m *Manager) Start(ctx context.Context, ref string, hold bool) (socket string, err error) {
	c, err := m.find(ref)
	if err != nil {
		return "", err
	}
	c.verb.Lock()
	defer c.verb.Unlock()
	r := m.snapshot(c)
	socket = shim.Socket(m.Dirs.Shim(r.ID))
	if r.State == Running {
		return socket, nil
	}
	if m.removed(c) {
		return "", apierr.NotFound("No such container: %s", ref)
	}
	if err := m.start(ctx, c, r, hold); err != nil {
		return "", m.startFailed(c, err)
	}
	return socket, nil
}

func (m *Manager) removed(c *container) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return c.gone
}

// start enters the sandbox, launches the shim meanwhile and, unless somebody
// will attach, lets it start the command.
func (m *Manager) start(ctx context.Context, c *container, r Record, hold bool) (err error) {
	if err := m.requireLinked(r); err != nil {
		return err
	}
	l := m.newLaunch(r)
	if err := m.enterSandbox(ctx, r, l.begin); err != nil {
		return errors.Join(err, l.abort())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.release(r))
		}
	}()
	conn, err := l.wait()
	if err != nil {
		return err
	}
	pid := 0
	if !hold {
		if pid, err = conn.Start(); err != nil {
			return errors.Join(err, conn.Close())
		}
	}
	err = m.update(c, func(record *Record) {
		record.State, record.Pid = Running, pid
		record.StartedAt, record.FinishedAt = time.Now(), time.Time{}
		record.ExitCode, record.Error = 0, ""
	})
	if err != nil {
		return errors.Join(err, conn.Signal(sigkill), conn.Close())
	}
	m.watch(c, conn, hold)
	return nil
}

func (m *Manager) shimConfig(r Record) (shim.Config, error) {
	network, err := m.Engine.Network(r.NetworkID)
	if err != nil {
		return shim.Config{}, err
	}
	mask, err := m.capabilities(r)
	if err != nil {
		return shim.Config{}, err
	}
	config := shim.Config{
		ID:           r.ID,
		Args:         r.Config.Cmd,
		Env:          environment(r, slices.Concat(m.linkVariables(r), r.Config.Env)),
		Dir:          r.Config.WorkingDir,
		Rootfs:       r.Config.HostConfig.Rootfs,
		Capabilities: mask,
		Privileged:   r.Config.HostConfig.Privileged,
		OpenStdin:    r.Config.OpenStdin,
		LogPath:      filesOf(m.Dirs, r.ID).log(),
	}
	// On the host's network the host's names are right.
	if network.Driver == engine.DriverHost {
		config.Hostname = r.Config.Hostname
		return config, nil
	}
	config.Hostname = r.Hostname()
	f := filesOf(m.Dirs, r.Sandbox)
	config.NetNS = m.Dirs.Sandbox(r.Sandbox)
	config.Hosts, config.ResolvConf, config.EtcHost = f.hosts(), f.resolvConf(), f.hostname()
	return config, nil
}

func (m *Manager) capabilities(r Record) (uint64, error) {
	h := r.Config.HostConfig
	return shim.Capabilities(h.CapAdd, h.CapDrop, h.Privileged)
}

// environment is Docker's: a PATH, the hostname and a home, then what was
// asked for.
func environment(r Record, wishes []string) []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOSTNAME=" + r.Hostname(),
		"HOME=/root",
	}
	return mergeEnv(env, wishes)
}

// startFailed notes why a container did not start and gives the error its exit
// code. What the command itself last ended with stays: the failure was not its own.
func (m *Manager) startFailed(c *container, err error) error {
	code := apierr.ExitDaemon
	var start *shim.StartError
	if errors.As(err, &start) {
		code = start.Code
	}
	storeErr := m.update(c, func(r *Record) {
		if start != nil || r.State != Exited {
			r.ExitCode = code
		}
		r.Error = err.Error()
	})
	if storeErr != nil {
		m.Log.Error("note a failed start", "container", m.snapshot(c).Name, "error", storeErr)
	}
	if start != nil {
		return &apierr.Error{Status: 400, ExitCode: code, Message: fmt.Sprintf("failed to start the container: %s", start.Message)}
	}
	return err
}
