// Command sluice-bench measures sluice beside its peers; `make bench` runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sluice-net/sluice/internal/bench"
)

// version is set by the linker.
var version = "unknown"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "sluice-bench:", err)
		os.Exit(1)
	}
}

func run() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	names := flag.String("scenarios", "", "comma-separated list of scenarios (default all)")
	rounds := flag.Int("rounds", 31, "rounds, in each of which every arm has its turn")
	frames := flag.Int("frames", 20_000, "frames that an arm sends in a round")
	output := flag.String("json", "", "file for the rows as JSON")
	sluice := flag.String("sluice", filepath.Join(filepath.Dir(self), "sluice"), "path of the sluice to measure")
	others := map[string]string{}
	flag.Func("also", "NAME=PATH: another sluice, as a further arm; may be repeated", func(value string) error {
		name, path, ok := strings.Cut(value, "=")
		if !ok {
			return fmt.Errorf("want NAME=PATH")
		}
		others[name] = path
		return nil
	})
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 || *frames < 1 {
		return fmt.Errorf("no arguments, and at least one round and one frame: see -help")
	}
	scenarios, err := bench.Select(*names)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	result := bench.Result{Schema: bench.Schema, Machine: bench.ThisMachine(version)}
	var targets []bench.Target
	for _, s := range scenarios {
		rows, err := s.Run(ctx, bench.Env{Sluice: *sluice, Others: others, Frames: *frames}, *rounds, os.Stderr)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		result.Rows = append(result.Rows, rows...)
		targets = append(targets, s.Targets...)
	}
	if *output != "" {
		if err := result.Save(*output); err != nil {
			return err
		}
	}
	return result.WriteTables(os.Stdout, targets)
}
