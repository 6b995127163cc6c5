// Command sluice-bench measures sluice beside its peers; `make bench` runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-net/sluice/internal/bench"
	"github.com/sluice-net/sluice/internal/traffic"
)

// longestTurn leaves time to the other threads of the CPU: the kernel takes it
// away from what works for most of a second with a real-time priority.
const longestTurn = 500 * time.Millisecond

// version is set by the linker.
var version = "unknown"

func main() {
	do := run
	if len(os.Args) > 1 && os.Args[1] == traffic.Command {
		do = func() error { return traffic.Main(os.Args[2:]) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "sluice-bench:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	env       bench.Env
	scenarios []bench.Scenario
	rounds    int    // 0 for those of each scenario
	output    string // file for the rows, "" for none
}

func run() error {
	o, err := parse()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	result := bench.Result{Schema: bench.Schema, Machine: bench.ThisMachine(version)}
	var targets []bench.Target
	for _, s := range o.scenarios {
		rows, err := s.Run(ctx, o.env, o.rounds, os.Stderr)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		result.Rows = append(result.Rows, rows...)
		targets = append(targets, s.Targets...)
	}
	if o.output != "" {
		if err := result.Save(o.output); err != nil {
			return err
		}
	}
	return result.WriteTables(os.Stdout, targets)
}

// parse reads the command line.
func parse() (o options, err error) {
	self, err := os.Executable()
	if err != nil {
		return o, err
	}
	e := &o.env
	*e = bench.Env{Self: self, Others: map[string]string{}, Only: map[string]string{}, Ports: []int{1, 1000, 10000}}
	names := flag.String("scenarios", "", "comma-separated list of scenarios (default all)")
	flag.IntVar(&o.rounds, "rounds", 0, "rounds, in each of which every arm has its turn (default as each scenario has it)")
	flag.StringVar(&o.output, "json", "", "file for the rows as JSON")
	flag.IntVar(&e.Frames, "frames", 20_000, "frames that an arm sends in a round")
	flag.IntVar(&e.Flows, "flows", 100_000, "flows that are many")
	flag.DurationVar(&e.Turn, "turn", 250*time.Millisecond, "how long an arm's client works in a round")
	flag.BoolVar(&e.Wide, "wide", false, "what takes long, too")
	flag.StringVar(&e.Sluice, "sluice", filepath.Join(filepath.Dir(self), "sluice"), "path of the sluice to measure")
	flag.Func("ports", "comma-separated list: how many published ports to compare (default 1,1000,10000)", func(value string) (err error) {
		e.Ports, err = portCounts(value)
		return err
	})
	flag.Func("also", "NAME=PATH: another sluice, as a further arm; may be repeated", intoMap(e.Others, "NAME=PATH"))
	flag.Func("only", "NAME=VALUE: leave out what has another value of this parameter; may be repeated", intoMap(e.Only, "NAME=VALUE"))
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 0 || e.Frames < 1 || e.Flows < 1 || e.Flows > bench.MostFlows || e.Turn < time.Millisecond || e.Turn > longestTurn {
		return o, fmt.Errorf("no arguments, at least one frame, 1 to %d flows, and turns of 1ms to %v: see -help", bench.MostFlows, longestTurn)
	}
	o.scenarios, err = bench.Select(*names)
	return o, err
}

// intoMap is a flag that may be repeated, of the form that is given.
func intoMap(values map[string]string, form string) func(string) error {
	return func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return fmt.Errorf("want %s", form)
		}
		values[name] = value
		return nil
	}
}

// portCounts reads numbers of ports that can be published.
func portCounts(list string) (counts []int, err error) {
	for _, text := range strings.Split(list, ",") {
		count, err := strconv.Atoi(text)
		if err != nil || count < 1 || count > bench.MostPorts {
			return nil, fmt.Errorf("want numbers from 1 to %d", bench.MostPorts)
		}
		counts = append(counts, count)
	}
	return counts, nil
}
