package loader_test

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
)

// hooks are the packet hooks, each with what attaches and detaches it.
var hooks = []struct {
	hook   datapath.Hook
	point  ebpf.AttachType
	attach func(*loader.Loader, string, int) error
	detach func(*loader.Loader, string) error
}{
	{datapath.HookContainer, ebpf.AttachTCXIngress, (*loader.Loader).AttachContainer, (*loader.Loader).DetachContainer},
	{datapath.HookUplink, ebpf.AttachTCXIngress, (*loader.Loader).AttachUplink, (*loader.Loader).DetachUplink},
	{datapath.HookBridge, ebpf.AttachTCXEgress, (*loader.Loader).AttachBridge, (*loader.Loader).DetachBridge},
}

// bystander is somebody else's program, which passes everything on.
func bystander(t *testing.T) *ebpf.Program {
	t.Helper()
	const next = -1
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SchedCLS,
		Instructions: asm.Instructions{asm.Mov.Imm32(asm.R0, next), asm.Return()},
		License:      "GPL",
	})
	must(t, err)
	t.Cleanup(func() { program.Close() })
	return program
}

func TestTCXAttachAndDetach(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := h.open(loader.AttachTCX)
	equal(t, "mode", l.Mode(), loader.AttachTCX)
	for _, test := range hooks {
		device := "dev-" + test.hook.String()
		ifindex := h.veth(device)
		for range 2 { // attaching what is attached succeeds
			must(t, test.attach(l, device, ifindex))
			h.wantPins(test.hook.String() + "@" + device)
			h.wantTCX(ifindex, test.point, id(t, l, test.hook))
		}
		for range 2 { // and so does detaching what is not
			must(t, test.detach(l, device))
			h.wantPins()
			h.wantTCX(ifindex, test.point)
		}
		must(t, test.attach(l, device, ifindex))
		h.wantTCX(ifindex, test.point, id(t, l, test.hook))
		must(t, test.detach(l, device))
	}
}

// The links outlive a daemon, whose successor gives them its programs.
func TestTCXSuccessorUpdatesTheLink(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	first := h.open(loader.AttachTCX)
	ifindex := h.veth("up0")
	must(t, first.AttachUplink("up0", ifindex))
	before := linkID(t, ifindex)
	old := id(t, first, datapath.HookUplink)
	first.Close()
	h.wantTCX(ifindex, ebpf.AttachTCXIngress, old)

	second := h.open(loader.AttachTCX)
	h.wantTCX(ifindex, ebpf.AttachTCXIngress, old)
	must(t, second.AttachUplink("up0", ifindex))
	h.wantTCX(ifindex, ebpf.AttachTCXIngress, id(t, second, datapath.HookUplink))
	equal(t, "link", linkID(t, ifindex), before)
	equal(t, "packets", h.send(second, datapath.HookUplink, "up0"), 1)
}

// linkID is that of the only link of a device's tcx ingress.
func linkID(t *testing.T, ifindex int) link.ID {
	t.Helper()
	result, err := link.QueryPrograms(link.QueryOptions{Target: ifindex, Attach: ebpf.AttachTCXIngress})
	must(t, err)
	if len(result.Programs) != 1 {
		t.Fatalf("%d programs, want one", len(result.Programs))
	}
	number, _ := result.Programs[0].LinkID()
	return number
}

func TestTCXBesideOthers(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := h.open(loader.AttachTCX)
	ifindex := h.veth("up0")
	equal(t, "packets before", h.send(l, datapath.HookUplink, "up0"), 0)
	other := bystander(t)
	foreign, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: other, Attach: ebpf.AttachTCXIngress})
	must(t, err)
	defer foreign.Close()
	info, err := other.Info()
	must(t, err)
	theirs, _ := info.ID()

	must(t, l.AttachUplink("up0", ifindex))
	h.wantTCX(ifindex, ebpf.AttachTCXIngress, theirs, id(t, l, datapath.HookUplink))
	equal(t, "packets while attached", h.send(l, datapath.HookUplink, "up0"), 1)
	must(t, l.DetachUplink("up0"))
	h.wantTCX(ifindex, ebpf.AttachTCXIngress, theirs)
	equal(t, "packets after", h.send(l, datapath.HookUplink, "up0"), 0)
}

func TestAttachToADeviceThatIsNot(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := h.open(loader.AttachTCX)
	if err := l.AttachUplink("up0", 4711); err == nil || !strings.Contains(err.Error(), "uplink program to up0") {
		t.Errorf("%v, want an error that names the hook and the device", err)
	}
	h.wantPins()
	must(t, l.DetachUplink("up0"))
}
