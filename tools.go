//go:build tools

// Package tools pins the versions of the programs that the Makefile runs.
package tools

import (
	_ "github.com/cilium/ebpf/cmd/bpf2go"
	_ "honnef.co/go/tools/cmd/staticcheck"
)
