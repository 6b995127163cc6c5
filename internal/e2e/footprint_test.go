package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluice-net/sluice/internal/lab"
)

// footprint is how much of everything an instance has, its daemon included,
// once the devices of what was removed are deleted.
func footprint(l *lab.Lab) map[string]int {
	l.Helper()
	l.Host.Eventually("what was removed is deleted", func() error { return unburied(l) })
	counts := map[string]int{
		"devices":        strings.Count(l.Host.Output("ip", "-o", "link"), "\n"),
		"pins":           len(filesBelow(l.T, filepath.Join(l.Root, "bpf"))),
		"files":          len(filesBelow(l.T, filepath.Join(l.Root, "state"))),
		"shim files":     len(filesBelow(l.T, filepath.Join(l.Root, "run", "shims"))),
		"namespaces":     len(filesBelow(l.T, filepath.Join(l.Root, "run", "netns"))),
		"mounts":         strings.Count(readFile(l, "/proc/self/mounts"), l.Root),
		"processes":      strings.Count(readFile(l, filepath.Join(l.Cgroup, "cgroup.procs")), "\n"),
		"containers":     len(strings.Fields(l.OK("ps", "-aq"))),
		"networks":       len(strings.Fields(l.OK("network", "ls", "-q"))),
		"rules":          len(natRules(l)),
		"published port": strings.Count(l.OK("ps", "-a", "--format", "{{.Ports}}"), ">"),
	}
	for name, entries := range systemInfo(l).MapEntries {
		counts["entries of "+name] = int(entries)
	}
	delete(counts, "entries of host_addrs6") // the kernel takes its time with link-local addresses
	counts["descriptors"] = descriptors(l)
	return counts
}

// unburied returns what devices and programs there are that should not be, or
// the other way round.
func unburied(l *lab.Lab) error {
	in, err := readIntent(l)
	if err != nil {
		return err
	}
	c := &checker{Lab: l, intent: in}
	if err := l.Host.Do(func() error { c.devices(); return nil }); err != nil {
		return err
	}
	c.attachments()
	return errors.Join(c.errs...)
}

// expectFootprint asserts that an instance has what it had, once a shim's files
// are removed. Flows that nobody uses any more end by themselves.
func expectFootprint(l *lab.Lab, before map[string]int) {
	l.Helper()
	l.Host.Eventually("nothing is left", func() error {
		after := footprint(l)
		after["entries of flows4"] = before["entries of flows4"]
		after["entries of nursery4"] = before["entries of nursery4"]
		if fmt.Sprint(after) != fmt.Sprint(before) {
			return fmt.Errorf("\nbefore %v\nafter  %v", before, after)
		}
		return nil
	})
}

// descriptors is how many the daemon has open once every client has gone.
func descriptors(l *lab.Lab) int {
	l.Helper()
	l.Host.Eventually("the API's connections end", func() error {
		const connected = " 03 "
		for line := range strings.Lines(readFile(l, fmt.Sprintf("/proc/%d/net/unix", l.Daemon()))) {
			if strings.Contains(line, connected) && strings.HasSuffix(line, filepath.Join(l.Root, "run", "sluice.sock\n")) {
				return errors.New(line)
			}
		}
		return nil
	})
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", l.Daemon()))
	if err != nil {
		l.Fatal(err)
	}
	return len(open)
}

func readFile(l *lab.Lab, path string) string {
	l.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		l.Fatal(err)
	}
	return string(raw)
}
