// Package e2e tests sluice as its users meet it: the built binaries, real
// packets, real programs as clients and servers, in network namespaces. Tests
// of a tutorial row carry the row's number and name.
package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/sluice-net/sluice/internal/lab"
)

// selfPath is the test binary. It serves as a program in containers, which see
// the host's files, and as a client: its first argument then says as what.
var selfPath = must(os.Executable())

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if program, ok := programs[os.Args[1]]; ok {
			if err := program(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests need root: they make network namespaces and load programs")
		os.Exit(1)
	}
	code := m.Run()
	lab.RemoveBinary()
	os.Exit(code)
}
