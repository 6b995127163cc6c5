package container

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/shim"
)

// execSeparator stands in the name of a further process's shim between the
// container's ID and the process's own.
const execSeparator = "-"

// Exec prepares a further process in a running container and returns the path
// of its shim's socket. The process starts when a client attaches there.
func (m *Manager) Exec(ref string, request api.Exec) (socket string, err error) {
	c, err := m.find(ref)
	if err != nil {
		return "", err
	}
	r := m.snapshot(c)
	if r.State != Running || r.Pid == 0 {
		return "", apierr.Conflict("Container %s is not running", r.ID)
	}
	if len(request.Cmd) == 0 {
		return "", apierr.BadParameter("No exec command specified")
	}
	if request.WorkingDir != "" && !strings.HasPrefix(request.WorkingDir, "/") {
		return "", apierr.BadParameter("the working directory %q is invalid, it needs to be an absolute path", request.WorkingDir)
	}
	mask, err := m.capabilities(r)
	if request.Privileged {
		mask, err = shim.Capabilities(nil, nil, true)
	}
	if err != nil {
		return "", err
	}
	dir := request.WorkingDir
	if dir == "" {
		dir = r.Config.WorkingDir
	}
	name := r.ID + execSeparator + newID()[:16]
	err = shim.Launch(m.Shim, m.Dirs.Shim(name), shim.Config{
		ID:           name,
		Args:         request.Cmd,
		Env:          environment(r, slices.Concat(m.linkVariables(r), r.Config.Env, request.Env)),
		Dir:          dir,
		Target:       r.Pid,
		Capabilities: mask,
		Privileged:   request.Privileged,
		OpenStdin:    request.OpenStdin,
	})
	if err != nil {
		return "", fmt.Errorf("exec in %s: %w", r.Name, err)
	}
	socket = shim.Socket(m.Dirs.Shim(name))
	conn, err := shim.Dial(socket)
	if err != nil {
		return "", err
	}
	go m.followExec(name, conn)
	return socket, nil
}

// followExec removes a further process's directory after its end.
func (m *Manager) followExec(name string, conn *shim.Conn) {
	ended := make(chan struct{})
	go func() {
		select {
		case <-m.closed:
		case <-ended:
		}
		_ = conn.Close()
	}()
	defer close(ended)
	_, _ = conn.Wait() // whatever its end was, its client has been told
	select {
	case <-m.closed: // the next daemon follows it
	default:
		_ = shim.Remove(m.Dirs.Shim(name))
	}
}
