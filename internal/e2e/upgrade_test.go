package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/loader"
)

// otherLayout edits the tree into a version whose maps have another layout.
var otherLayout = lab.Edit{
	Path: "loader/layout.go",
	Old:  fmt.Sprintf("const Layout = %d", loader.Layout), New: fmt.Sprintf("const Layout = %d", loader.Layout+1),
}

// everyMapDiffers edits it so that no map of another layout may stay.
var everyMapDiffers = lab.Edit{
	Path: "loader/upgrade_maps.go",
	Old:  "err != nil || !sameFields(key, spec.Key)", New: "true || !sameFields(key, spec.Key)",
}

// laterVersions are those that a daemon of this one may be followed by.
var laterVersions = map[string][]lab.Edit{
	"the same layout":                     {{Path: "cmd/sluice-daemon/main.go", Old: `var version = "unknown"`, New: `var version = "later"`}},
	"another layout":                      {otherLayout},
	"another layout, with every map anew": {otherLayout, everyMapDiffers},
}

// TestUpgrade covers a daemon of another version in the place of this one, and
// back: connections go on, and new ones are made.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	for name, edits := range laterVersions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLoadLab(t)
			later := lab.BuildVersion(t, edits...)
			ways := l.ways(families...)
			kept := l.startLoad(2*len(ways), ways)
			made := l.startChurn("20ms", "0s", ways)
			l.becomes(later)
			if info := systemInfo(l.Lab); (info.Layout == loader.Layout+1) != slices.Contains(edits, otherLayout) {
				t.Errorf("after the upgrade: %+v", info)
			}
			time.Sleep(2 * loadBeat)
			l.becomes("")
			time.Sleep(2 * loadBeat)
			kept.expectKept()
			if r := made.stop(); r.Failed > r.Tried/20 {
				t.Errorf("beside the upgrades: %v", r)
			} else {
				t.Log(r)
			}
			expectInvariants(l.Lab)
		})
	}
}

// becomes kills the daemon and starts one of another version, "" for this one.
func (l *loadLab) becomes(version string) {
	l.Helper()
	l.StopDaemon(unix.SIGKILL)
	l.Version = version
	l.StartDaemon()
	l.Host.Eventually("the pins are of one layout", func() error {
		if layouts := strings.Fields(l.Host.Output("sh", "-c", "echo "+l.Root+"/bpf/v*")); len(layouts) != 1 {
			return fmt.Errorf("%v", layouts)
		}
		return nil
	})
}
