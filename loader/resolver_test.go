package loader_test

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
)

const loopback = 1

// The resolver's link ends with its process, so that the next one cannot attach
// twice.
func TestResolverByTCX(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for range 2 {
		l := h.open(loader.AttachTCX)
		attached, err := l.AttachResolver()
		must(t, err)
		h.wantTCX(loopback, ebpf.AttachTCXIngress, id(t, l, datapath.HookResolver))
		h.wantPins()
		must(t, attached.Close())
		h.wantTCX(loopback, ebpf.AttachTCXIngress)
	}
}

// A filter stays until the next process replaces it, or takes it away when that
// one attaches by tcx.
func TestResolverByClsact(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for range 2 {
		l := h.open(loader.AttachClsact)
		for range 2 {
			attached, err := l.AttachResolver()
			must(t, err)
			h.wantFilters(loopback, netlink.HANDLE_MIN_INGRESS, id(t, l, datapath.HookResolver))
			must(t, attached.Close())
		}
		h.wantPins()
	}
	l := h.open(loader.AttachTCX)
	attached, err := l.AttachResolver()
	must(t, err)
	defer attached.Close()
	h.wantFilters(loopback, netlink.HANDLE_MIN_INGRESS)
	h.wantTCX(loopback, ebpf.AttachTCXIngress, id(t, l, datapath.HookResolver))
}
