package loader

import (
	"cmp"
	"fmt"
	"math/bits"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
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
	// ConntrackMax and ConntrackNewMax are how many flows of each family the
	// tables of those that have proved themselves and of young ones hold. 0
	// means DefaultConntrackMax; maps that are pinned keep their sizes.
	ConntrackMax, ConntrackNewMax uint32
	// Timeouts replace those that the programs were compiled with.
	Timeouts Timeouts
	// Attach chooses how programs meet devices; "" is tcx where the kernel
	// has it and clsact elsewhere.
	Attach AttachMode
	// Without are features that the programs do without although the kernel has
	// them: for tests of what older kernels get.
	Without Features
	// OnDemand leaves it to Load to load programs: for tests, which want one or two.
	OnDemand bool
	// LogDir is where the verifier's log goes when it refuses a program.
	LogDir string
}

// Timeouts are constants of the programs, by their names in bpf/config.h, in seconds.
type Timeouts = datapath.Timeouts

// DefaultConntrackMax is the size of either conntrack table without a wish, in flows.
const DefaultConntrackMax = 32768

// MaxConntrack is the largest. Of the kernel's memory, a tenured flow has 780 to 1,570 bytes and a
// young one 640, for both families.
const MaxConntrack = 16 << 20

// leastYoung is how many halves of young flows there have to be per possible
// CPU: an LRU map hands them out in lots, and a smaller one would evict what
// has just come.
const leastYoung = 512

// masqueradePorts is how many ports masquerade has to choose from: those outside
// ip_local_port_range (snat_ports_above and snat_ports_below of bpf/ports.h).
func (c Config) masqueradePorts() uint32 {
	const lowest = 1024
	return 65535 - uint32(c.LocalPorts[1]) + uint32(max(c.LocalPorts[0], lowest)) - lowest
}

func (c Config) constants(kernel Features, clock jiffies) map[string]any {
	constants := map[string]any{
		"dry_run":           c.DryRun,
		"observe":           c.Observe,
		"fib_skip_neigh":    kernel.FIBSkipNeigh && !c.Without.FIBSkipNeigh,
		"fib_source":        kernel.FIBSource && !c.Without.FIBSource,
		"csum_ipv6":         kernel.CsumIPv6 && !c.Without.CsumIPv6,
		"kernel_context":    kernel.KernelContext && !c.Without.KernelContext,
		"fib_ifindex":       c.FIBIfindex,
		"host_netns_cookie": c.HostCookie,
		"jiffies_origin":    clock.origin,
		"jiffy_seconds":     clock.seconds,
		"local_port_first":  c.LocalPorts[0],
		"local_port_last":   c.LocalPorts[1],
	}
	for name, seconds := range c.Timeouts {
		constants[name] = seconds
	}
	return constants
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
	return setVariables(spec, c.constants(kernel, clock))
}

// setVariables sets those that the object has.
func setVariables(spec *ebpf.CollectionSpec, values map[string]any) error {
	for name, value := range values {
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

// flowSets is how many sets of the tenured table there are for so many halves: a
// power of two, with at least twice the entries, so that few sets are full before the
// table has as many (docs/design/tenured-table.md).
func flowSets(halves uint32) uint32 {
	return 1 << bits.Len32((2*halves-1)/datapath.FlowWays)
}

// conntrackSize is how large a map of a conntrack table is to be.
type conntrackSize struct {
	entries uint32
	flows   uint32 // that were asked for; 0 for tags, which are as many as the entries need
}

// conntrackSizes returns those of each such map, by name. A flow has two halves.
func (c Config) conntrackSizes() (map[string]conntrackSize, error) {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, fmt.Errorf("count the CPUs: %w", err)
	}
	tenured, young := cmp.Or(c.ConntrackMax, DefaultConntrackMax), cmp.Or(c.ConntrackNewMax, DefaultConntrackMax)
	sets := flowSets(2 * tenured)
	sizes := map[string]conntrackSize{}
	for _, family := range []string{"4", "6"} {
		sizes["flow_tags"+family] = conntrackSize{entries: sets}
		sizes["flows"+family] = conntrackSize{datapath.FlowWays * sets, tenured}
		sizes["nursery"+family] = conntrackSize{max(2*young, leastYoung*uint32(cpus)), young}
	}
	return sizes, nil
}
