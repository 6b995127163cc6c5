package loader_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/sluice-net/sluice/loader"
)

// socketPoints are where a host process meets the socket hook, and the pins
// of what is attached there.
var socketPoints = map[string]ebpf.AttachType{
	"socket@socket_connect4":     ebpf.AttachCGroupInet4Connect,
	"socket@socket_sendmsg4":     ebpf.AttachCGroupUDP4Sendmsg,
	"socket@socket_recvmsg4":     ebpf.AttachCGroupUDP4Recvmsg,
	"socket@socket_getpeername4": ebpf.AttachCgroupInet4GetPeername,
	"socket@socket_bind4":        ebpf.AttachCGroupInet4Bind,
	"socket@socket_connect6":     ebpf.AttachCGroupInet6Connect,
	"socket@socket_sendmsg6":     ebpf.AttachCGroupUDP6Sendmsg,
	"socket@socket_recvmsg6":     ebpf.AttachCGroupUDP6Recvmsg,
	"socket@socket_getpeername6": ebpf.AttachCgroupInet6GetPeername,
	"socket@socket_bind6":        ebpf.AttachCGroupInet6Bind,
}

// cgroup makes an empty cgroup for the time of the test.
func (h *host) cgroup(name string) string {
	h.t.Helper()
	root := "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/unified"); err == nil {
		root += "/unified"
	}
	dir := filepath.Join(root, fmt.Sprintf("sluice-test-%d-%s-%s", os.Getpid(), h.t.Name(), name))
	must(h.t, os.Mkdir(dir, 0o755))
	h.t.Cleanup(func() { must(h.t, os.Remove(dir)) })
	return dir
}

// attached are the programs of a cgroup, by the pin that each should have.
func (h *host) attached(cgroup string) map[string]ebpf.ProgramID {
	h.t.Helper()
	dir, err := os.Open(cgroup)
	must(h.t, err)
	defer dir.Close()
	programs := map[string]ebpf.ProgramID{}
	for pin, point := range socketPoints {
		result, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: point})
		must(h.t, err)
		if len(result.Programs) > 1 {
			h.t.Errorf("%d programs for %s", len(result.Programs), pin)
		}
		for _, program := range result.Programs {
			programs[pin] = program.ID
		}
	}
	return programs
}

// wantSockets wants all programs at the one cgroup, by the pins, and none at
// the other, and returns the first.
func (h *host) wantSockets(at, notAt string) map[string]ebpf.ProgramID {
	h.t.Helper()
	programs := h.attached(at)
	equal(h.t, "programs there", len(programs), len(socketPoints))
	equal(h.t, "programs elsewhere", len(h.attached(notAt)), 0)
	equal(h.t, "pins", len(h.pins()), len(socketPoints))
	for pin := range socketPoints {
		pinned, err := link.LoadPinnedLink(filepath.Join(loader.PinsDir(h.root), "links", pin), nil)
		must(h.t, err)
		info, err := pinned.Info()
		must(h.t, err)
		equal(h.t, "program of "+pin, info.Program, programs[pin])
		must(h.t, pinned.Close())
	}
	return programs
}

func TestSocketsAttachAndDetach(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := h.open("")
	one, two := h.cgroup("one"), h.cgroup("two")
	must(t, l.DetachSockets()) // what is not attached
	for range 2 {
		must(t, l.AttachSockets(one))
		h.wantSockets(one, two)
	}
	for range 2 {
		must(t, l.DetachSockets())
		equal(t, "programs", len(h.attached(one)), 0)
		h.wantPins()
	}
	must(t, l.AttachSockets(one))
	must(t, l.AttachSockets(two)) // moves them
	h.wantSockets(two, one)
	must(t, l.DetachSockets())
	equal(t, "programs", len(h.attached(two)), 0)
}

func TestSocketsOfASuccessor(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	one, two := h.cgroup("one"), h.cgroup("two")
	first := h.open("")
	must(t, first.AttachSockets(one))
	before := h.wantSockets(one, two)
	first.Close()
	equal(t, "programs without a daemon", len(h.attached(one)), len(socketPoints))
	second := h.open("")
	must(t, second.AttachSockets(one))
	for pin, program := range h.wantSockets(one, two) {
		if program == before[pin] {
			t.Errorf("%s has the program of the first daemon", pin)
		}
	}
	must(t, second.DetachSockets())
}

// A cgroup that was removed and made anew is another one.
func TestSocketsOfACgroupMadeAnew(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := h.open("")
	one, two := h.cgroup("one"), h.cgroup("two")
	must(t, l.AttachSockets(one))
	must(t, os.Remove(one))
	must(t, os.Mkdir(one, 0o755))
	equal(t, "programs of the new one", len(h.attached(one)), 0)
	must(t, l.AttachSockets(one))
	h.wantSockets(one, two)
	must(t, l.DetachSockets())
}

func TestSocketsNeedACgroup(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := h.open("")
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing")} {
		if err := l.AttachSockets(dir); err == nil || !strings.Contains(err.Error(), dir+" is not a directory of a cgroup2 file system") {
			t.Error(err)
		}
	}
	h.wantPins()
}
