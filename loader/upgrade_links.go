package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
)

// linkCount is how many links are pinned.
func (p pins) linkCount() (int, error) {
	entries, err := os.ReadDir(p.links())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return len(entries), err
}

// takeLinks moves the pins of another layout's links, and the marks of our
// qdiscs, and gives the links the new programs.
func (l *Loader) takeLinks(from pins) error {
	if err := os.MkdirAll(l.pins.qdiscs(), 0o700); err != nil {
		return err
	}
	for of, to := range map[string]string{from.qdiscs(): l.pins.qdiscs(), from.links(): l.pins.links()} {
		if err := moveEntries(of, to); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(l.pins.links())
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := l.updateLink(entry.Name()); err != nil {
			return fmt.Errorf("replace the program of %s: %w", entry.Name(), err)
		}
	}
	return nil
}

func moveEntries(from, to string) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.Rename(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// updateLink gives a link its program of this layout. One whose device or cgroup is
// gone is left to whoever attaches next.
func (l *Loader) updateLink(name string) error {
	pinned, err := link.LoadPinnedLink(filepath.Join(l.pins.links(), name), nil)
	if err != nil {
		return err
	}
	defer pinned.Close()
	info, err := pinned.Info()
	if err != nil {
		return err
	}
	program, err := l.programFor(name, info)
	if program == nil || err != nil {
		return err
	}
	if err := pinned.Update(program); !errors.Is(err, unix.ENOLINK) {
		return err
	}
	return nil
}

// programFor is the program of a link, nil when it needs none any more.
func (l *Loader) programFor(name string, info *link.Info) (*ebpf.Program, error) {
	hook, on, _ := strings.Cut(name, "@")
	if hook == datapath.HookSocket.String() {
		return l.programs[datapath.HookSocket].loaded()[on], nil
	}
	tcx := info.TCX()
	if tcx == nil || tcx.Ifindex == 0 {
		return nil, nil
	}
	for _, h := range []datapath.Hook{datapath.HookContainer, datapath.HookBridge} {
		if hook == h.String() {
			return l.Program(h), nil
		}
	}
	return l.UplinkProgram(int(tcx.Ifindex))
}
