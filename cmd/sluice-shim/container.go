package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/companion"
	"github.com/sluice-net/sluice/internal/shim"
)

// initStage is the argument that makes this program the first process of a
// container. On statusFD that process reports a failure; from goFD it reads a
// byte before it becomes the command.
const (
	initStage = "init"
	statusFD  = 3
	goFD      = 4
)

// stage is this program's second stage: a process in a new container's
// namespaces that has not become the command yet.
type stage struct {
	pid     int
	status  *os.File
	goAhead *os.File
}

// prepareContainer starts the second stage, which makes everything ready and
// waits.
func prepareContainer(dir string, s *streams) (*stage, error) {
	status, statusOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer statusOut.Close()
	goIn, goAhead, err := os.Pipe()
	if err != nil {
		status.Close()
		return nil, err
	}
	defer goIn.Close()
	pid, err := syscall.ForkExec("/proc/self/exe", []string{companion.Shim, initStage, dir}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"GOMAXPROCS=1"},
		Files: append(s.childFDs(), statusOut.Fd(), goIn.Fd()),
		Sys: &syscall.SysProcAttr{
			Setsid:     true,
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
			Pdeathsig:  unix.SIGKILL, // nothing outlives its shim
		},
	})
	if err != nil {
		status.Close()
		goAhead.Close()
		return nil, fmt.Errorf("make the container's namespaces: %w", err)
	}
	return &stage{pid: pid, status: status, goAhead: goAhead}, nil
}

// become lets the stage become the command, and returns its PID once it has.
func (s *stage) become() (pid int, err error) {
	defer s.status.Close()
	_, _ = s.goAhead.Write([]byte{1}) // one that has failed reads nothing
	s.goAhead.Close()
	if err := readStatus(s.status); err != nil {
		s.reap()
		return 0, err
	}
	return s.pid, nil
}

// abandon ends a stage that nobody wants any more.
func (s *stage) abandon() {
	_ = syscall.Kill(s.pid, syscall.SIGKILL)
	s.reap()
	s.status.Close()
	s.goAhead.Close()
}

func (s *stage) reap() {
	var ignored syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(s.pid, &ignored, 0, nil); !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// readStatus returns the failure that the second stage reports; its end
// without one means that the command runs.
func readStatus(status *os.File) error {
	raw, err := io.ReadAll(status)
	if err != nil || len(raw) == 0 {
		return err
	}
	var failure shim.StartError
	if err := json.Unmarshal(raw, &failure); err != nil {
		return err
	}
	return &failure
}

// initContainer makes the process at hand the container's command. It does not
// return.
func initContainer(dir string) {
	status := os.NewFile(statusFD, "status")
	unix.CloseOnExec(statusFD)
	unix.CloseOnExec(goFD)
	err := becomeCommand(dir, status)
	var failure *shim.StartError
	if !errors.As(err, &failure) {
		failure = &shim.StartError{Code: 125, Message: err.Error()}
	}
	raw, _ := json.Marshal(failure)
	_, _ = status.Write(raw)
	os.Exit(failure.Code)
}

func becomeCommand(dir string, status *os.File) error {
	config, err := shim.ReadConfig(dir)
	if err != nil {
		return err
	}
	if err := enterNetwork(config.NetNS); err != nil {
		return err
	}
	if err := mountFiles(config); err != nil {
		return err
	}
	if config.Hostname != "" {
		if err := unix.Sethostname([]byte(config.Hostname)); err != nil {
			return fmt.Errorf("set the hostname: %w", err)
		}
	}
	if err := dropCapabilities(config.Capabilities); err != nil {
		return err
	}
	var path string
	if len(config.Args) > 0 {
		if path, err = findCommand(config); err != nil {
			return err
		}
	}
	awaitGo()
	if len(config.Args) == 0 {
		pause(status)
	}
	return execError(config.Args[0], unix.Exec(path, config.Args, config.Env))
}

// awaitGo returns when the shim says so. A shim that is gone ends the process.
func awaitGo() {
	for {
		switch n, err := unix.Read(goFD, make([]byte, 1)); {
		case n == 1:
			return
		case !errors.Is(err, unix.EINTR):
			os.Exit(1)
		}
	}
}

func enterNetwork(path string) error {
	if path == "" {
		return nil
	}
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace %s: %w", path, err)
	}
	return nil
}

// pause waits to be told to end, and buries orphans, as the first process of a
// container without a command. It is started once it catches signals: the
// runtime's own answer to an early SIGTERM is exit code 2.
func pause(status *os.File) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGCHLD)
	status.Close()
	for s := range signals {
		if s != unix.SIGCHLD {
			os.Exit(0)
		}
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
	}
}
