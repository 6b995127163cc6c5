package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// suiteOutput reads what init.sh and the suites print while the machine runs.
type suiteOutput struct {
	log     io.Writer
	verbose bool

	partial  []byte
	release  string
	exits    map[string]string // by suite
	ended    bool
	passed   int
	skipped  []string // the tests, each with its reason
	failures []string
	last     string
}

func newOutput(log io.Writer, verbose bool) *suiteOutput {
	return &suiteOutput{log: log, verbose: verbose, exits: map[string]string{}}
}

// Write takes any pieces of the stream.
func (o *suiteOutput) Write(p []byte) (int, error) {
	o.partial = append(o.partial, p...)
	for {
		line, rest, found := bytes.Cut(o.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		o.partial = rest
		if err := o.line(strings.TrimRight(string(line), "\r")); err != nil {
			return 0, err
		}
	}
}

func (o *suiteOutput) line(line string) error {
	fields := strings.Fields(line)
	switch {
	case len(fields) < 2:
	case fields[0] == "kerneltest:":
		o.event(fields[1:])
	case fields[0] != "---":
	case fields[1] == "PASS:":
		o.passed++
	case fields[1] == "SKIP:":
		o.skipped = append(o.skipped, fields[2]+" ("+strings.TrimSpace(o.last)+")")
	case fields[1] == "FAIL:":
		o.failures = append(o.failures, line)
	}
	o.last = line
	if o.verbose {
		fmt.Fprintln(os.Stdout, line)
	}
	_, err := fmt.Fprintln(o.log, line)
	return err
}

func (o *suiteOutput) event(fields []string) {
	switch {
	case fields[0] == "end":
		o.ended = true
	case fields[0] == "release" && len(fields) == 2:
		o.release = fields[1]
	case fields[0] == "exit" && len(fields) == 3:
		o.exits[fields[2]] = fields[1]
	}
}

// judge is nil when every suite ended with exit code 0 and the machine came to
// its end by itself.
func (o *suiteOutput) judge(wanted []suite) error {
	if o.release == "" {
		return errors.New("the kernel did not get as far as the tests")
	}
	for _, s := range wanted {
		code, ok := o.exits[s.name]
		if !ok {
			return fmt.Errorf("the suite %s did not end", s.name)
		}
		if code != "0" {
			return fmt.Errorf("the suite %s failed with exit code %s", s.name, code)
		}
	}
	if !o.ended {
		return errors.New("the machine did not end by itself")
	}
	return nil
}
