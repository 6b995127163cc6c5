package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/loader"
)

// instance is a daemon of sluice that makes a world's host its own.
type instance struct {
	binary, root, host string
	cgroup             string // whose processes reach published ports by the host's own addresses
}

// startSluice starts one of a binary and waits until it answers.
func startSluice(e *Env, w *world, binary string, flags ...string) (*instance, error) {
	i := &instance{binary: binary, host: w.host, root: filepath.Join(e.dir, filepath.Base(w.host)+"-root")}
	log, err := os.Create(i.root + ".log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if i.cgroup, err = os.MkdirTemp(e.cgroup, "daemon-"); err != nil {
		return nil, err
	}
	e.cleanup(func() error { return removeCgroup(i.cgroup) })
	daemon := i.command(append([]string{"daemon", "--cgroup", i.cgroup}, flags...)...)
	daemon.Stdout, daemon.Stderr = log, log
	if err := netdev.InNamespace(w.host, daemon.Start); err != nil {
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	e.cleanup(func() error {
		reset := i.run("system", "reset", "--force")
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
		if reset != nil { // by a daemon that does not answer; it works without one too
			reset = i.run("system", "reset", "--force")
		}
		// Whatever became of the reset, the pins must not keep the programs.
		return errors.Join(reset, loader.Unmount(filepath.Join(i.root, "bpf")))
	})
	if err := eventually(func() error { return i.run("version") }); err != nil {
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("the daemon does not answer: %w\n%s", err, said)
	}
	return i, nil
}

func (i *instance) command(args ...string) *exec.Cmd {
	return exec.Command(i.binary, append([]string{"--root", i.root}, args...)...)
}

// run runs a verb.
func (i *instance) run(args ...string) error {
	_, err := i.output(args...)
	return err
}

// output runs a verb and returns what it printed, without the last newline.
func (i *instance) output(args ...string) (string, error) {
	printed, err := output(i.host, i.command(args...))
	return strings.TrimSuffix(printed, "\n"), err
}

// eventually tries for half a minute: many daemons may start on a machine that
// has other work.
func eventually(check func() error) error {
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if err = check(); err == nil {
			return nil
		}
	}
	return err
}

// removeCgroup waits until the kernel has buried the last process.
func removeCgroup(path string) error {
	return eventually(func() error {
		if err := unix.Rmdir(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the cgroup %s: %w", path, err)
		}
		return nil
	})
}
