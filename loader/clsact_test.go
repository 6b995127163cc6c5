package loader_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
)

// filters are the programs of a device's classifiers, by priority.
func (h *host) filters(ifindex int, parent uint32) (ids []ebpf.ProgramID) {
	h.t.Helper()
	device, err := netlink.LinkByIndex(ifindex)
	must(h.t, err)
	all, err := netlink.FilterList(device, parent)
	must(h.t, err)
	for _, filter := range all {
		if filter, ok := filter.(*netlink.BpfFilter); ok {
			ids = append(ids, ebpf.ProgramID(filter.Id))
		}
	}
	return ids
}

func (h *host) wantFilters(ifindex int, parent uint32, want ...ebpf.ProgramID) {
	h.t.Helper()
	if got := h.filters(ifindex, parent); !slices.Equal(got, want) {
		h.t.Errorf("filters of device %d: got %v, want %v", ifindex, got, want)
	}
}

// qdiscs are the kinds of a device's qdiscs for filters alone.
func (h *host) qdiscs(ifindex int) (kinds []string) {
	h.t.Helper()
	device, err := netlink.LinkByIndex(ifindex)
	must(h.t, err)
	all, err := netlink.QdiscList(device)
	must(h.t, err)
	for _, qdisc := range all {
		if kind := qdisc.Type(); kind == "clsact" || kind == "ingress" {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

func (h *host) wantQdiscs(ifindex int, want ...string) {
	h.t.Helper()
	if got := h.qdiscs(ifindex); !slices.Equal(got, want) {
		h.t.Errorf("qdiscs of device %d: got %v, want %v", ifindex, got, want)
	}
}

func qdisc(ifindex int) netlink.QdiscAttrs {
	return netlink.QdiscAttrs{LinkIndex: ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
}

// foreignFilter adds somebody else's filter and returns its program.
func (h *host) foreignFilter(ifindex int, parent uint32) ebpf.ProgramID {
	h.t.Helper()
	program := bystander(h.t)
	must(h.t, netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: ifindex, Parent: parent, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL},
		Fd:          program.FD(), Name: "theirs", DirectAction: true,
	}))
	info, err := program.Info()
	must(h.t, err)
	number, _ := info.ID()
	return number
}

func TestClsactAttachAndDetach(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := h.open(loader.AttachClsact)
	equal(t, "mode", l.Mode(), loader.AttachClsact)
	for _, test := range hooks {
		device, parent := "dev-"+test.hook.String(), uint32(netlink.HANDLE_MIN_INGRESS)
		if test.point == ebpf.AttachTCXEgress {
			parent = netlink.HANDLE_MIN_EGRESS
		}
		ifindex := h.veth(device)
		for range 2 { // attaching what is attached leaves one filter
			must(t, test.attach(l, device, ifindex))
			h.wantQdiscs(ifindex, "clsact")
			h.wantFilters(ifindex, parent, id(t, l, test.hook))
		}
		for range 2 {
			must(t, test.detach(l, device))
			h.wantFilters(ifindex, parent)
			h.wantQdiscs(ifindex)
			h.wantNoMarks()
		}
		// A device that is deleted first leaves nothing behind either.
		must(t, test.attach(l, device, ifindex))
		h.delete(device)
		must(t, test.detach(l, device))
		h.wantNoMarks()
	}
}

// wantNoMarks wants nothing that says a qdisc is ours.
func (h *host) wantNoMarks() {
	h.t.Helper()
	marks, err := os.ReadDir(filepath.Join(loader.PinsDir(h.root), "qdiscs"))
	must(h.t, err)
	equal(h.t, "marks of qdiscs", len(marks), 0)
}

func TestClsactSuccessorReplacesTheFilter(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	first := h.open(loader.AttachClsact)
	ifindex := h.veth("up0")
	must(t, first.AttachUplink("up0", ifindex))
	first.Close()
	second := h.open(loader.AttachClsact)
	must(t, second.AttachUplink("up0", ifindex))
	h.wantFilters(ifindex, netlink.HANDLE_MIN_INGRESS, id(t, second, datapath.HookUplink))
	equal(t, "packets while attached", h.send(second, datapath.HookUplink, "up0"), 1)
	must(t, second.DetachUplink("up0"))
	equal(t, "packets after", h.send(second, datapath.HookUplink, "up0"), 0)
	h.wantQdiscs(ifindex) // though it was the first that made it
}

// TestLinkInPlaceOfFilter covers a link that takes a filter's place. The qdisc stays
// until the program is detached: to take it away stops the device for a moment.
func TestLinkInPlaceOfFilter(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := h.open("")
	ifindex := h.veth("web")
	must(t, l.FilterContainer("web", ifindex))
	h.wantFilters(ifindex, netlink.HANDLE_MIN_INGRESS, id(t, l, datapath.HookContainer))
	filtered, err := l.ContainerFiltered(ifindex)
	must(t, err)
	equal(t, "has a filter", filtered, true)

	must(t, l.AttachContainer("web", ifindex))
	h.wantFilters(ifindex, netlink.HANDLE_MIN_INGRESS)
	h.wantQdiscs(ifindex, "clsact")
	filtered, err = l.ContainerFiltered(ifindex)
	must(t, err)
	equal(t, "has a filter still", filtered, false)

	must(t, l.DetachContainer("web"))
	h.wantQdiscs(ifindex)
	h.wantNoMarks()
}

// TestSweepQdiscs covers devices that went while no daemon ran: who comes later by
// such a name, with a qdisc of its own, keeps that.
func TestSweepQdiscs(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := h.open("")
	must(t, l.FilterContainer("gone.1", h.veth("gone.1")))
	stays := h.veth("stays.1")
	must(t, l.FilterContainer("stays.1", stays))
	must(t, netlink.LinkDel(h.device("gone.1")))
	must(t, l.SweepQdiscs())
	marks, err := filepath.Glob(filepath.Join(loader.PinsDir(h.root), "qdiscs", "*"))
	must(t, err)
	if len(marks) != 1 || filepath.Base(marks[0]) != "stays%2E1" {
		t.Errorf("marks: %q", marks)
	}
	must(t, l.DetachContainer("stays.1"))
	h.wantQdiscs(stays)
	h.wantNoMarks()
}

func TestClsactBesideOthers(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := h.open(loader.AttachClsact)
	ours := id(t, l, datapath.HookUplink)
	for name, parent := range map[string]uint32{"in": netlink.HANDLE_MIN_INGRESS, "out": netlink.HANDLE_MIN_EGRESS} {
		ifindex := h.veth(name)
		must(t, netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: qdisc(ifindex)}))
		theirs := h.foreignFilter(ifindex, parent)
		for range 2 {
			must(t, l.AttachUplink(name, ifindex))
			want := []ebpf.ProgramID{ours}
			if parent == netlink.HANDLE_MIN_INGRESS {
				want = []ebpf.ProgramID{theirs, ours}
			}
			h.wantFilters(ifindex, netlink.HANDLE_MIN_INGRESS, want...)
		}
		must(t, l.DetachUplink(name))
		h.wantQdiscs(ifindex, "clsact")
		h.wantFilters(ifindex, parent, theirs)
	}
	// A filter that somebody added to our qdisc keeps it from going with ours.
	ifindex := h.veth("ours")
	must(t, l.AttachUplink("ours", ifindex))
	theirs := h.foreignFilter(ifindex, netlink.HANDLE_MIN_EGRESS)
	must(t, l.DetachUplink("ours"))
	h.wantQdiscs(ifindex, "clsact")
	h.wantFilters(ifindex, netlink.HANDLE_MIN_EGRESS, theirs)
}

// A qdisc that was there before us stays, even without filters.
func TestClsactForeignQdiscStays(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	clsact, plain := h.veth("clsact"), h.veth("ingress")
	must(t, netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: qdisc(clsact)}))
	must(t, netlink.QdiscAdd(&netlink.Ingress{QdiscAttrs: qdisc(plain)}))
	devices := map[string]int{"clsact": clsact, "ingress": plain}
	var last *loader.Loader
	for range 2 { // the second is a successor
		last = h.open(loader.AttachClsact)
		for device, ifindex := range devices {
			must(t, last.AttachUplink(device, ifindex))
			h.wantFilters(ifindex, netlink.HANDLE_MIN_INGRESS, id(t, last, datapath.HookUplink))
		}
	}
	for device, ifindex := range devices {
		must(t, last.DetachUplink(device))
		h.wantFilters(ifindex, netlink.HANDLE_MIN_INGRESS)
		h.wantQdiscs(ifindex, device)
	}
}
