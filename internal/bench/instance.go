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
)

// instance is a daemon of sluice that makes a world's host its own.
type instance struct {
	binary, root, host string
}

// startSluice starts one and waits until it answers.
func startSluice(e *Env, w *world) (*instance, error) {
	i := &instance{binary: e.Sluice, host: w.host, root: filepath.Join(e.dir, filepath.Base(w.host)+"-root")}
	log, err := os.Create(i.root + ".log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	daemon := i.command("daemon", "--cgroup", e.cgroup)
	daemon.Stdout, daemon.Stderr = log, log
	if err := netdev.InNamespace(w.host, daemon.Start); err != nil {
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	e.cleanup(func() error {
		err := i.run("system", "reset", "--force")
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
		return err
	})
	return i, eventually(func() error { return i.run("version") })
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

// eventually tries for five seconds.
func eventually(check func() error) error {
	var err error
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
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
