package loader_test

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
)

// bpffs refuses dots, and VLAN devices have them.
func TestDeviceNames(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := h.open(loader.AttachTCX)
	for _, name := range []string{"eth0.100", "...", "a.b.c", "a@b", "fifteen-letters"} {
		ifindex := h.bridge(name, 0)
		must(t, l.AttachUplink(name, ifindex))
		h.wantTCX(ifindex, ebpf.AttachTCXIngress, id(t, l, datapath.HookUplink))
		must(t, l.DetachUplink(name))
		h.wantTCX(ifindex, ebpf.AttachTCXIngress)
	}
	h.wantPins()
	// Names that differ in a dot alone have pins of their own.
	for _, name := range []string{"eth0.1", "eth0_1", "eth01"} {
		must(t, l.AttachUplink(name, h.bridge(name, 0)))
	}
	equal(t, "pins", len(h.pins()), 3)
}

// A link outlives its device; the pin must not keep the next one of the name
// from its program, even when that has the ifindex of the old one.
func TestDeviceMadeAnew(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := h.open(loader.AttachTCX)
	for _, ifindex := range []int{0, 0, 77, 77} {
		index := h.bridge("up0", ifindex)
		must(t, l.AttachUplink("up0", index))
		h.wantTCX(index, ebpf.AttachTCXIngress, id(t, l, datapath.HookUplink))
		h.delete("up0")
		h.wantPins("uplink@up0")
	}
	must(t, l.DetachUplink("up0"))
	h.wantPins()
}

// A device that was renamed while no daemon ran has the old daemon's program
// by a pin of its old name; its successor must not run a second one beside it.
func TestDeviceRenamed(t *testing.T) {
	t.Parallel()
	for _, mode := range []loader.AttachMode{loader.AttachTCX, loader.AttachClsact} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			first := h.open(mode)
			ifindex := h.veth("up0")
			must(t, first.AttachUplink("up0", ifindex))
			first.Close()
			h.rename("up0", "up1")
			h.rename("up0p", "up1p")

			second := h.open(mode)
			must(t, second.AttachUplink("up1", ifindex))
			h.wantOne(second, ifindex)
			must(t, second.DetachUplink("up0"))
			h.wantOne(second, ifindex)
			equal(t, "packets", h.send(second, datapath.HookUplink, "up1"), 1)
			must(t, second.DetachUplink("up1"))
			h.wantNone(ifindex)
			h.wantPins()
		})
	}
}

// Two devices that change names keep one program each.
func TestDevicesSwapNames(t *testing.T) {
	t.Parallel()
	for _, mode := range []loader.AttachMode{loader.AttachTCX, loader.AttachClsact} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			l := h.open(mode)
			a, b := h.veth("up0"), h.veth("up1")
			must(t, l.AttachUplink("up0", a))
			must(t, l.AttachUplink("up1", b))
			h.rename("up0", "tmp")
			h.rename("up1", "up0")
			h.rename("tmp", "up1")
			must(t, l.AttachUplink("up0", b))
			must(t, l.AttachUplink("up1", a))
			h.wantOne(l, a)
			h.wantOne(l, b)
			must(t, l.DetachUplink("up0"))
			h.wantNone(b)
			h.wantOne(l, a)
		})
	}
}

// Who starts the daemon in another mode must not get packets handled twice,
// nor keep a program for ever.
func TestModeChanges(t *testing.T) {
	t.Parallel()
	for _, modes := range [][2]loader.AttachMode{
		{loader.AttachTCX, loader.AttachClsact},
		{loader.AttachClsact, loader.AttachTCX},
	} {
		t.Run("from "+string(modes[0]), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			first := h.open(modes[0])
			kept, dropped := h.veth("up0"), h.veth("up1")
			must(t, first.AttachUplink("up0", kept))
			must(t, first.AttachUplink("up1", dropped))
			first.Close()

			second := h.open(modes[1])
			must(t, second.AttachUplink("up0", kept))
			h.wantOne(second, kept)
			equal(t, "packets", h.send(second, datapath.HookUplink, "up0"), 1)
			for _, device := range []string{"up0", "up1"} {
				must(t, second.DetachUplink(device))
			}
			h.wantNone(kept)
			h.wantNone(dropped)
			h.wantPins()
		})
	}
}

// bridge makes a device with an ifindex, 0 for any.
func (h *host) bridge(name string, ifindex int) int {
	h.t.Helper()
	must(h.t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, Index: ifindex}}))
	return h.device(name).Attrs().Index
}

// wantOne wants the loader's uplink program, in its mode, and nothing else.
func (h *host) wantOne(l *loader.Loader, ifindex int) {
	h.t.Helper()
	program := id(h.t, l, datapath.HookUplink)
	if l.Mode() == loader.AttachTCX {
		h.wantTCX(ifindex, ebpf.AttachTCXIngress, program)
		h.wantFilters(ifindex, netlink.HANDLE_MIN_INGRESS)
	} else {
		h.wantTCX(ifindex, ebpf.AttachTCXIngress)
		h.wantFilters(ifindex, netlink.HANDLE_MIN_INGRESS, program)
	}
}

// wantNone wants no program of anyone.
func (h *host) wantNone(ifindex int) {
	h.t.Helper()
	h.wantTCX(ifindex, ebpf.AttachTCXIngress)
	h.wantFilters(ifindex, netlink.HANDLE_MIN_INGRESS)
}
