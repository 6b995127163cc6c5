// Command sluice is container networking for Linux by eBPF: the daemon and its
// client in one program.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sluice-net/sluice/internal/cli"
	"github.com/sluice-net/sluice/internal/daemon"
)

// version is set by the linker.
var version = "unknown"

func main() {
	env := &cli.Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, LookupEnv: os.LookupEnv, Version: version,
		Daemon: func(ctx context.Context, o daemon.Options) error {
			ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return daemon.Run(ctx, o)
		},
		Reset: daemon.Reset,
	}
	os.Exit(cli.Main(context.Background(), env, os.Args[1:]))
}
