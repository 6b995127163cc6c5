package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/shim"
)

// findCommand goes to the working directory and looks for the command there or
// in the PATH of its own environment.
func findCommand(config shim.Config) (string, error) {
	dir := config.Dir
	if dir == "" {
		dir = "/"
	}
	if err := os.Chdir(dir); err != nil {
		return "", &shim.StartError{Code: 127, Message: fmt.Sprintf("working directory %q: %v", dir, errors.Unwrap(err))}
	}
	name := config.Args[0]
	if name == "" {
		return "", notFound(name)
	}
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	var denied error
	for _, dir := range strings.Split(pathOf(config.Env), ":") {
		path := dir + "/" + name
		if dir == "" {
			path = "./" + name
		}
		err := executable(path)
		if err == nil {
			return path, nil
		}
		var start *shim.StartError
		if errors.As(err, &start) && start.Code == 126 {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", notFound(name)
}

func notFound(name string) error {
	return &shim.StartError{Code: 127, Message: fmt.Sprintf("exec: %q: executable file not found in $PATH", name)}
}

func pathOf(env []string) string {
	for _, variable := range env {
		if path, ok := strings.CutPrefix(variable, "PATH="); ok {
			return path
		}
	}
	return ""
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return execError(path, errors.Unwrap(err))
	}
	if info.IsDir() {
		return execError(path, unix.EISDIR)
	}
	if info.Mode()&0o111 == 0 {
		return execError(path, unix.EACCES)
	}
	return nil
}

// execError gives an error of execve Docker's exit code: 127 for what is not
// there, 126 for what cannot be executed.
func execError(name string, err error) error {
	code := 126
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		code = 127
	}
	return &shim.StartError{Code: code, Message: fmt.Sprintf("exec: %q: %v", name, err)}
}

// spawnInside starts a command in the namespaces of a running container, from
// a thread that changes over for good: what it forks inherits its namespaces
// and capabilities. The command has no PDEATHSIG, which the runtime cannot set
// across PID namespaces: after a killed shim it lives as long as the container.
func spawnInside(config shim.Config, s *streams) (pid int, err error) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		pid, err = enterAndSpawn(config, s)
		close(done)
	}()
	<-done
	return pid, err
}

func enterAndSpawn(config shim.Config, s *streams) (pid int, err error) {
	target, err := unix.PidfdOpen(config.Target, 0)
	if errors.Is(err, unix.ESRCH) {
		return 0, errors.New("the container has just ended")
	}
	if err != nil {
		return 0, fmt.Errorf("find the container's process: %w", err)
	}
	defer unix.Close(target)
	// A mount namespace cannot be entered by a thread that shares its
	// directories with others.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return 0, fmt.Errorf("unshare: %w", err)
	}
	all := unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET
	if err := unix.Setns(target, all); err != nil {
		return 0, fmt.Errorf("enter the container: %w", err)
	}
	if err := dropCapabilities(config.Capabilities); err != nil {
		return 0, err
	}
	path, err := findCommand(config)
	if err != nil {
		return 0, err
	}
	pid, err = syscall.ForkExec(path, config.Args, &syscall.ProcAttr{
		Env:   config.Env,
		Files: s.childFDs(),
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, execError(config.Args[0], err)
	}
	return pid, nil
}

// dropCapabilities leaves the calling thread, and what it becomes, those of
// the mask: a program that root executes gets its bounding set.
func dropCapabilities(keep uint64) error {
	for capability := range 64 {
		if keep&(1<<capability) != 0 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // the kernel knows no further ones
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", capability, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear the ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read the capabilities: %w", err)
	}
	for i := range data {
		word := uint32(keep >> (32 * i))
		data[i].Permitted &= word
		data[i].Effective = data[i].Permitted
		data[i].Inheritable = 0
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("set the capabilities: %w", err)
	}
	return nil
}
