package loader_test

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
)

const loopback = 1

// TestResolver: a filter stays until another call, or another process of either
// mode, replaces it.
func TestResolver(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for _, mode := range []loader.AttachMode{loader.AttachTCX, loader.AttachClsact, loader.AttachTCX} {
		l := h.open(mode)
		for range 2 {
			must(t, l.AttachResolver())
			h.wantFilters(loopback, netlink.HANDLE_MIN_INGRESS, id(t, l, datapath.HookResolver))
			h.wantTCX(loopback, ebpf.AttachTCXIngress)
			h.wantPins()
		}
	}
}
