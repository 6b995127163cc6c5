package e2e

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
)

// pathCounters are what the kernel and we have counted, in all namespaces of an
// integrityLab, by name.
type pathCounters struct {
	drops  map[string]uint64 // ours, by reason
	errors map[string]uint64 // what no packet on a good path may meet
	// How else packets get lost: refused by a router that forwards, for their
	// size, or by a device whose queue was full.
	tooBig, queueFull uint64
	// SYNs that were sent again, though their connections had begun: a busy machine
	// answers late. The kernel counts them among "Tcp InErrs".
	lateSYNs uint64
}

func (x *integrityLab) counters() pathCounters {
	x.Helper()
	c := pathCounters{drops: systemInfo(x.Lab).Drops, errors: map[string]uint64{}}
	for _, n := range x.namespaces() {
		n.Must(func() error {
			if err := c.addDevices(); err != nil {
				return err
			}
			return c.addStack()
		})
	}
	return c
}

// addDevices adds the drops of the devices in the thread's namespace.
func (c *pathCounters) addDevices() error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, link := range links {
		if s := link.Attrs().Statistics; s != nil {
			c.queueFull += s.RxDropped + s.TxDropped
		}
	}
	return nil
}

// addStack adds the counters of the stack in the thread's namespace.
func (c *pathCounters) addStack() error {
	for _, file := range []string{"snmp", "netstat", "snmp6"} {
		raw, err := os.ReadFile("/proc/thread-self/net/" + file)
		if err != nil {
			return err
		}
		each := eachPaired
		if file == "snmp6" {
			each = eachNamed
		}
		if err := each(string(raw), c.addStackCounter); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func (c *pathCounters) addStackCounter(name string, value uint64) {
	for _, end := range []string{"CsumErrors", "RcvbufErrors", "Tcp InErrs", "Udp InErrors", "Udp6InErrors"} {
		if strings.HasSuffix(name, end) {
			c.errors[name] += value
		}
	}
	if strings.HasSuffix(name, "FragFails") {
		c.tooBig += value
	}
	if name == "TcpExt TCPSYNChallenge" {
		c.lateSYNs += value
	}
}

// eachPaired reads pairs of lines, of names and of values, each behind what they
// are of. Some of the values may be negative.
func eachPaired(text string, add func(name string, value uint64)) error {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for pair := range slices.Chunk(lines, 2) {
		names, values := strings.Fields(pair[0]), strings.Fields(pair[1])
		if len(names) != len(values) {
			return fmt.Errorf("%d names have %d values", len(names), len(values))
		}
		for i, name := range names[1:] {
			value, err := strconv.ParseInt(values[i+1], 10, 64)
			if err != nil {
				return err
			}
			add(strings.TrimSuffix(names[0], ":")+" "+name, uint64(value))
		}
	}
	return nil
}

// eachNamed reads lines of a name and a value.
func eachNamed(text string, add func(name string, value uint64)) error {
	for line := range strings.Lines(text) {
		var name string
		var value uint64
		if _, err := fmt.Sscan(line, &name, &value); err != nil {
			return err
		}
		add(name, value)
	}
	return nil
}

// since is what was counted after an earlier look; only what has risen is named.
func (c pathCounters) since(before pathCounters) pathCounters {
	rise := func(now, before map[string]uint64) map[string]uint64 {
		risen := map[string]uint64{}
		for name, n := range now {
			if n > before[name] {
				risen[name] = n - before[name]
			}
		}
		return risen
	}
	risen := pathCounters{
		drops:     rise(c.drops, before.drops),
		errors:    rise(c.errors, before.errors),
		tooBig:    c.tooBig - before.tooBig,
		queueFull: c.queueFull - before.queueFull,
		lateSYNs:  c.lateSYNs - before.lateSYNs,
	}
	if risen.errors["Tcp InErrs"] <= risen.lateSYNs {
		delete(risen.errors, "Tcp InErrs")
	}
	return risen
}

// named is "name n, name n", in order.
func named(counters map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counters[name]))
	}
	return strings.Join(parts, ", ")
}
