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
// container, and statusFD the pipe on which that process reports a failure.
const (
	initStage = "init"
	statusFD  = 3
)

// spawnContainer starts this program's second stage in new namespaces and
// returns its PID once it has become the command.
func spawnContainer(config shim.Config, dir string, s *streams) (pid int, err error) {
	status, statusOut, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer status.Close()
	pid, err = syscall.ForkExec("/proc/self/exe", []string{companion.Shim, initStage, dir}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"GOMAXPROCS=1"},
		Files: append(s.childFDs(), statusOut.Fd()),
		Sys: &syscall.SysProcAttr{
			Setsid:     true,
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
			Pdeathsig:  unix.SIGKILL, // nothing outlives its shim
		},
	})
	statusOut.Close()
	if err != nil {
		return 0, fmt.Errorf("make the container's namespaces: %w", err)
	}
	if err := readStatus(status); err != nil {
		var ignored syscall.WaitStatus
		_, _ = syscall.Wait4(pid, &ignored, 0, nil)
		return 0, err
	}
	return pid, nil
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
	if len(config.Args) == 0 {
		pause(status)
	}
	path, err := findCommand(config)
	if err != nil {
		return err
	}
	return execError(config.Args[0], unix.Exec(path, config.Args, config.Env))
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
