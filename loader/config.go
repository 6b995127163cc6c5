package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// Config sets the programs' constants (bpf/config.h) and the maps' sizes.
type Config struct {
	// DryRun loads programs that decide but write no map.
	DryRun bool
	// Observe lets the programs report dropped packets in the ring buffer
	// `events` for as long as report_lease says.
	Observe bool
	// FIBIfindex is the device that lends its `forwarding` to route lookups.
	FIBIfindex uint32
	// HostCookie is the cookie of the network namespace that is the host.
	HostCookie uint64
	// LocalPorts is the host's ip_local_port_range, first and last.
	LocalPorts [2]uint16
	// ConntrackMax is the number of halves of flows; a flow has two. 0 means
	// DefaultConntrackMax.
	ConntrackMax uint32
	// Attach chooses how programs meet devices; "" is tcx where the kernel
	// has it and clsact elsewhere.
	Attach AttachMode
	// Without are features that the programs do without although the kernel has
	// them: for tests of what older kernels get.
	Without Features
	// LogDir is where the verifier's log goes when it refuses a program.
	LogDir string
}

// DefaultConntrackMax is the size of the conntrack table without a wish.
const DefaultConntrackMax = 65536

func (c Config) constants(kernel Features, clock jiffies) map[string]any {
	return map[string]any{
		"dry_run":           c.DryRun,
		"observe":           c.Observe,
		"fib_skip_neigh":    kernel.FIBSkipNeigh && !c.Without.FIBSkipNeigh,
		"fib_source":        kernel.FIBSource && !c.Without.FIBSource,
		"csum_ipv6":         kernel.CsumIPv6 && !c.Without.CsumIPv6,
		"fib_ifindex":       c.FIBIfindex,
		"host_netns_cookie": c.HostCookie,
		"jiffies_origin":    clock.origin,
		"jiffy_seconds":     clock.seconds,
		"local_port_first":  c.LocalPorts[0],
		"local_port_last":   c.LocalPorts[1],
	}
}

// setConstants sets those of the configuration's constants that the object has.
func (c Config) setConstants(spec *ebpf.CollectionSpec) error {
	kernel, err := KernelFeatures()
	if err != nil {
		return err
	}
	clock, err := readJiffies()
	if err != nil {
		return err
	}
	for name, value := range c.constants(kernel, clock) {
		variable, ok := spec.Variables[name]
		if !ok {
			continue
		}
		if err := variable.Set(value); err != nil {
			return fmt.Errorf("set constant %s: %w", name, err)
		}
	}
	return nil
}

func (c Config) setSizes(layout *ebpf.CollectionSpec) {
	size := c.ConntrackMax
	if size == 0 {
		size = DefaultConntrackMax
	}
	layout.Maps["flows4"].MaxEntries = size
}
