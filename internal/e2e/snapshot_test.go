package e2e

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/sluice-net/sluice/internal/lab"
)

// hostState is all that a daemon may have changed of its host: each key is
// something, each value how it is.
type hostState map[string]string

// stateOf reads the devices, addresses, routes, rules, neighbours, sysctls and
// mounts of a lab's host, and the files below the instance's root.
func stateOf(l *lab.Lab) hostState {
	l.Helper()
	l.Host.Eventually("the kernel has finished the devices' addresses", func() error {
		if got := l.Host.Output("ip", "-6", "addr", "show", "dev", "eth0"); !strings.Contains(got, "fe80:") || strings.Contains(got, "tentative") {
			return errors.New(got)
		}
		return nil
	})
	state := hostState{}
	for _, args := range [][]string{
		{"-o", "link"}, {"-o", "addr"}, {"-4", "route", "show", "table", "all"}, {"-6", "route", "show", "table", "all"},
		{"-4", "rule"}, {"-6", "rule"}, {"neigh", "show", "nud", "permanent"},
	} {
		state["ip "+strings.Join(args, " ")] = l.Host.Output("ip", args...)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		l.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, l.Root) {
			state["mount "+line] = ""
		}
	}
	l.Host.Must(func() error { return state.addSysctls() })
	for _, path := range filesBelow(l.T, l.Root) {
		state["file "+path] = ""
	}
	return state
}

// addSysctls reads those of the calling thread's network namespace. What only
// root may write, or what reading changes, cannot be read and is left out.
func (s hostState) addSysctls() error {
	return filepath.WalkDir("/proc/sys/net", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if value, err := os.ReadFile(path); err == nil {
			s[path] = string(value)
		}
		return nil
	})
}

func filesBelow(t testing.TB, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// expectState asserts that the host is as it was.
func expectState(t testing.TB, got, want hostState) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if value, ok := got[key]; !ok {
			t.Errorf("gone: %s\n%s", key, want[key])
		} else if value != want[key] {
			t.Errorf("changed: %s\nis  %s\nwas %s", key, value, want[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			t.Errorf("left: %s\n%s", key, got[key])
		}
	}
}

// kernelObjects are the IDs of an instance's pinned maps and links, and of the
// links' programs.
type kernelObjects struct {
	maps     []ebpf.MapID
	links    []link.ID
	programs []ebpf.ProgramID
}

func objectsOf(l *lab.Lab) kernelObjects {
	l.Helper()
	var found kernelObjects
	for _, path := range filesBelow(l.T, filepath.Join(l.Root, "bpf")) {
		switch filepath.Base(filepath.Dir(path)) {
		case "maps":
			m, err := ebpf.LoadPinnedMap(path, &ebpf.LoadPinOptions{ReadOnly: true})
			if err != nil {
				l.Fatal(err)
			}
			info, err := m.Info()
			m.Close()
			if err != nil {
				l.Fatal(err)
			}
			id, _ := info.ID()
			found.maps = append(found.maps, id)
		case "links":
			pinned, err := link.LoadPinnedLink(path, nil)
			if err != nil {
				l.Fatal(err)
			}
			info, err := pinned.Info()
			pinned.Close()
			if err != nil {
				l.Fatal(err)
			}
			found.links = append(found.links, info.ID)
			found.programs = append(found.programs, info.Program)
		}
	}
	if len(found.maps) == 0 || len(found.links) == 0 {
		l.Fatalf("the instance has pinned %d maps and %d links", len(found.maps), len(found.links))
	}
	return found
}

// expectFreed waits until the kernel has freed every object.
func (k kernelObjects) expectFreed(l *lab.Lab) {
	l.Helper()
	l.Host.Eventually("the kernel frees programs, maps and links", func() error {
		for _, id := range k.programs {
			if p, err := ebpf.NewProgramFromID(id); !errors.Is(err, os.ErrNotExist) {
				p.Close()
				return errors.New("a program is left")
			}
		}
		for _, id := range k.maps {
			if m, err := ebpf.NewMapFromID(id); !errors.Is(err, os.ErrNotExist) {
				m.Close()
				return errors.New("a map is left")
			}
		}
		for _, id := range k.links {
			if found, err := link.NewFromID(id); !errors.Is(err, os.ErrNotExist) {
				if found != nil {
					found.Close()
				}
				return errors.New("a link is left")
			}
		}
		return nil
	})
}
