// Kerneltest runs the single-packet suite and rows of the tutorial on older
// kernels: it boots Debian's cloud kernels in QEMU, without KVM, from an
// initramfs that holds the tests, what they need, and nothing else.
//
//	go run ./internal/kerneltest 6.1 6.12
//	go run ./internal/kerneltest -shell 6.1
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// suite is a test binary that a kernel has to pass.
type suite struct {
	name, pkg string
	run       string // -test.run
}

var suites = []suite{
	{"datapath", "./internal/datapath", "."},
	// Of IPv6 the two that ask most of the kernel: half a minute each, or more.
	{"e2e", "./internal/e2e", "^TestRow(02|03|04|13).*[^6]$|^TestRow(02|04).*IPv6$"},
}

type options struct {
	cache   string
	timeout time.Duration
	run     string
	shell   bool
	verbose bool
}

func main() {
	var o options
	flag.StringVar(&o.cache, "cache", ".cache/kernels", "folder for packages, images and logs")
	flag.DurationVar(&o.timeout, "timeout", 40*time.Minute, "how long a kernel may take")
	flag.StringVar(&o.run, "run", "", "run these tests of all suites (a regular expression) instead of the usual ones")
	flag.BoolVar(&o.shell, "shell", false, "a shell in the machine instead of the tests")
	flag.BoolVar(&o.verbose, "v", false, "show what the tests print")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: kerneltest [flags] SERIES... (such as 6.1), in the root of the tree")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 || o.shell && flag.NArg() > 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "kerneltest:", err)
		os.Exit(1)
	}
}

func run(o options, series []string) error {
	cache, err := filepath.Abs(o.cache)
	if err != nil {
		return err
	}
	o.cache = cache
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	built := filepath.Join(cache, "bin")
	if err := buildAll(built); err != nil {
		return err
	}
	if o.run != "" {
		for i := range suites {
			suites[i].run = o.run
		}
	}
	// One after the other: apt-get is not made for company.
	machines := map[string]machine{}
	for _, s := range series {
		m, err := prepare(o, s, built)
		if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		machines[s] = m
	}
	if o.shell {
		return machines[series[0]].shell()
	}
	return runAll(o, machines)
}

// runAll runs the kernels side by side: a test leaves most of a CPU idle.
func runAll(o options, machines map[string]machine) error {
	var failed atomic.Int32
	var running sync.WaitGroup
	for s, m := range machines {
		running.Go(func() {
			if err := runKernel(o, s, m); err != nil {
				fmt.Printf("%s: %v\n", s, err)
				failed.Add(1)
			}
		})
	}
	running.Wait()
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("%d of %d kernels failed", n, len(machines))
	}
	return nil
}

// prepare fetches a kernel and makes the image that it boots from.
func prepare(o options, series, built string) (machine, error) {
	k, err := fetchKernel(o.cache, series)
	if err != nil {
		return machine{}, err
	}
	fmt.Printf("%s: %s %s\n", series, k.pkg, k.version)
	m := machine{kernel: k.vmlinuz, initrd: filepath.Join(o.cache, series+".cpio"), console: filepath.Join(o.cache, series+".console")}
	if err := writeImage(m.initrd, k, built); err != nil {
		return m, fmt.Errorf("make the image: %w", err)
	}
	return m, nil
}

func runKernel(o options, series string, m machine) error {
	log, err := os.Create(filepath.Join(o.cache, series+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	began := time.Now()
	out := newOutput(log, o.verbose)
	bootErr := m.boot(ctx, out)
	took := time.Since(began).Round(time.Second)
	for _, skipped := range out.skipped {
		fmt.Printf("%s: skipped: %s\n", series, skipped)
	}
	if err := out.judge(suites); err != nil {
		for _, line := range out.failures {
			fmt.Println(line)
		}
		if bootErr != nil {
			err = fmt.Errorf("%w (%w)", err, bootErr)
		}
		return fmt.Errorf("%w, after %v; see %s and %s", err, took, log.Name(), m.console)
	}
	fmt.Printf("%s: Linux %s passed %d tests in %v\n", series, out.release, out.passed, took)
	return nil
}
