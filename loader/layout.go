package loader

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Layout is the version of the pinned maps' keys and values (bpf/types.h). It
// is raised with every change to them, and a field gets another name when it
// means something else: see upgrade.go.
const Layout = 6

// pins names the paths below an instance's bpffs, of one layout. It does no I/O.
type pins struct{ root, version string }

func pinsOf(root string) pins { return pins{root, fmt.Sprintf("v%d", Layout)} }

// unfinishedMark ends the names of directories whose maps are not filled yet.
const unfinishedMark = "+"

// unfinished is where the maps of a layout are filled from those of another.
func (p pins) unfinished() pins { return pins{p.root, p.version + unfinishedMark} }

func (p pins) layout() string { return filepath.Join(p.root, p.version) }
func (p pins) maps() string   { return filepath.Join(p.layout(), "maps") }
func (p pins) links() string  { return filepath.Join(p.layout(), "links") }
func (p pins) qdiscs() string { return filepath.Join(p.layout(), "qdiscs") }

func (p pins) mapPin(name string) string { return filepath.Join(p.maps(), name) }

// link is the pin of the program of a hook on a device, or on the attach point
// of a cgroup. bpffs refuses dots in names; VLAN devices have them.
func (p pins) link(hook, on string) string {
	return filepath.Join(p.links(), hook+"@"+undotted(on))
}

// qdisc is a directory that is there when the device's clsact qdisc is ours.
func (p pins) qdisc(device string) string {
	return filepath.Join(p.qdiscs(), undotted(device))
}

func undotted(name string) string { return strings.ReplaceAll(name, ".", "%2E") }

func dotted(name string) string { return strings.ReplaceAll(name, "%2E", ".") }

// PinsDir is the directory of an instance's bpffs that has this layout's pins.
func PinsDir(root string) string { return pinsOf(root).layout() }
