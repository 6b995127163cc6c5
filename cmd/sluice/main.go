// Command sluice is container networking for Linux by eBPF: the client, which
// becomes sluice-daemon where the daemon's own program is needed.
package main

import (
	"context"
	"os"
	"os/exec"
	"syscall"

	"github.com/sluice-net/sluice/internal/cli"
	"github.com/sluice-net/sluice/internal/companion"
)

// version is set by the linker.
var version = "unknown"

func main() {
	env := &cli.Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, LookupEnv: os.LookupEnv, Version: version,
		Daemon: becomeDaemon, AskDaemon: askDaemon,
	}
	os.Exit(cli.Main(context.Background(), env, os.Args[1:]))
}

// becomeDaemon keeps the process and its ID. It returns only errors.
func becomeDaemon(args ...string) error {
	path, err := companion.Find(companion.Daemon)
	if err != nil {
		return err
	}
	return os.NewSyscallError("execute "+path, syscall.Exec(path, append([]string{companion.Daemon}, args...), os.Environ()))
}

// askDaemon runs the daemon's program as a child. What it says goes where we say
// something too.
func askDaemon(args ...string) ([]byte, error) {
	path, err := companion.Find(companion.Daemon)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Stderr = os.Stderr
	return cmd.Output()
}
