package loader_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
	datapathmaps "github.com/sluice-net/sluice/maps"
)

// other is the directory of a layout that is not ours.
func (h *host) other() string { return filepath.Join(h.root, "v1") }

// becomesOther makes what is pinned that of another layout.
func (h *host) becomesOther() {
	h.t.Helper()
	must(h.t, os.Rename(loader.PinsDir(h.root), h.other()))
}

func (h *host) wantNoOther() {
	h.t.Helper()
	layouts, err := filepath.Glob(filepath.Join(h.root, "v*"))
	must(h.t, err)
	if !slices.Equal(layouts, []string{loader.PinsDir(h.root)}) {
		h.t.Errorf("what is below the bpffs: %q", layouts)
	}
}

func flowKey(n uint16) datapath.FlowKey4 {
	return datapath.FlowKey4{Src: 0x0100000a, Dst: 0x0200000a, Sport: n, Dport: 80, Protocol: 6}
}

// tenured is the table of IPv4 flows that have proved themselves.
func tenured(l *loader.Loader) *datapathmaps.Tenured {
	return datapathmaps.NewTenured(l.Maps(), 4, l.FlowTable())
}

// raw is a key or value as maps have it.
func raw(t testing.TB, of any) []byte {
	t.Helper()
	bytes, err := binary.Append(nil, binary.NativeEndian, of)
	must(t, err)
	return bytes
}

// putFlow puts a half whose key is not there.
func putFlow(t testing.TB, l *loader.Loader, key uint16, f datapath.Flow4) {
	t.Helper()
	put, err := tenured(l).Put(raw(t, flowKey(key)), raw(t, f))
	must(t, err)
	equal(t, "a half is put", put, true)
}

// eraseFlow removes a half that is there.
func eraseFlow(t testing.TB, l *loader.Loader, key uint16) {
	t.Helper()
	erased, err := tenured(l).Erase(raw(t, flowKey(key)))
	must(t, err)
	equal(t, "a half is erased", erased, true)
}

// flowsOf are the halves of flows4; each is there once.
func flowsOf(t testing.TB, l *loader.Loader) map[datapath.FlowKey4]datapath.Flow4 {
	t.Helper()
	found := map[datapath.FlowKey4]datapath.Flow4{}
	must(t, tenured(l).Each(func(key, half []byte) error {
		var k datapath.FlowKey4
		var f datapath.Flow4
		_, err := binary.Decode(key, binary.NativeEndian, &k)
		must(t, err)
		_, err = binary.Decode(half, binary.NativeEndian, &f)
		must(t, err)
		if _, twice := found[k]; twice {
			t.Errorf("%+v is there twice", k)
		}
		found[k] = f
		return nil
	}))
	return found
}

// wantFlow asserts that a half is there, where the programs find it too.
func wantFlow(t testing.TB, what string, l *loader.Loader, key uint16, want datapath.Flow4) {
	t.Helper()
	got, there := flowsOf(t, l)[flowKey(key)]
	if !there || got != want {
		t.Errorf("%s: got %+v, %v, want %+v", what, got, there, want)
	}
	put, err := tenured(l).Put(raw(t, flowKey(key)), raw(t, want))
	must(t, err)
	equal(t, what+" is put again", put, false)
}

func flow(seen uint32) datapath.Flow4 {
	f := datapath.Flow4{Src: 0x0300000a, Dst: 0x0400000a, Sport: 7, Dport: 8}
	f.Head.Created, f.Head.Seen, f.Head.State, f.Head.Rule, f.Head.RuleGeneration = 5, seen, 3, 9, 11
	return f
}

// Pins of another layout give way to ours: maps that are the same in both stay, the
// entries of another are carried over, and links have the new programs at once.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	uplink, bridge := h.veth("up0"), h.veth("br0")
	first := h.open("")
	must(t, first.AttachUplink("up0", uplink))
	must(t, first.AttachBridge("br0", bridge))
	putFlow(t, first, 1, flow(6))
	must(t, first.Maps()["nursery4"].Put(flowKey(2), flow(6)))
	must(t, first.Maps()["devices"].Put(uint32(7), uint32(9)))
	must(t, first.Maps()["ports_tcp"].Put(uint32(8080), uint32(3)))
	perCPU := make([]uint64, ebpf.MustPossibleCPU())
	perCPU[0] = 70
	must(t, first.Maps()["drop_counts"].Put(uint32(3), perCPU))
	must(t, first.Maps()["subnets4"].Put(datapath.SubnetKey4{PrefixLen: 16, Addr: 0x11ac}, uint32(4)))
	before := mapIDs(t, first)
	first.Close()
	h.becomesOther()
	changed := []string{"nursery4", "ports_tcp", "subnets4", "drop_counts"}
	for _, name := range changed {
		h.changeOther(name)
	}

	second := h.open("")
	u := second.Upgraded()
	want := map[string]int{"nursery4": 1, "ports_tcp": 1, "subnets4": 1, "drop_counts": 1}
	if u == nil || !slices.Equal(u.From, []string{"v1"}) || !maps.Equal(u.Carried, want) || len(u.Lost) != 0 {
		t.Errorf("upgraded: %+v", u)
	}
	for name, number := range mapIDs(t, second) {
		if same := number == before[name]; same == slices.Contains(changed, name) {
			t.Errorf("%s is the same map: %v", name, same)
		}
	}
	h.wantNoOther()
	h.wantTCX(uplink, ebpf.AttachTCXIngress, id(t, second, datapath.HookUplink))
	h.wantTCX(bridge, ebpf.AttachTCXEgress, id(t, second, datapath.HookBridge))
	h.wantPins("bridge@br0", "uplink@up0")
	equal(t, "packets passed by the new program", h.send(second, datapath.HookUplink, "up0"), 1)
	wantFlow(t, "a flow in flows4", second, 1, flow(6))
	var f datapath.Flow4
	must(t, second.Maps()["nursery4"].Lookup(flowKey(2), &f))
	equal(t, "a flow in nursery4", f, flow(6))
	var number uint32
	must(t, second.Maps()["devices"].Lookup(uint32(7), &number))
	equal(t, "a device", number, 9)
	must(t, second.Maps()["ports_tcp"].Lookup(uint32(8080), &number))
	equal(t, "a port", number, 3)
	must(t, second.Maps()["subnets4"].Lookup(datapath.SubnetKey4{PrefixLen: 16, Addr: 0x11ac}, &number))
	equal(t, "a subnet", number, 4)
	var counts []uint64
	must(t, second.Maps()["drop_counts"].Lookup(uint32(3), &counts))
	equal(t, "counts", counts[0], 70)
	second.Close()
	if u := h.open("").Upgraded(); u != nil {
		t.Errorf("upgraded again: %+v", u)
	}
}

// Programs of two layouts look for ports far from each other, where their tables are
// not the same; also when the upgrade begins anew.
func TestUpgradePartsTheSearchesForPorts(t *testing.T) {
	t.Parallel()
	const apart = 65535 / 2 // of all ports, for the tests have no ip_local_port_range
	for changed, want := range map[bool]uint32{false: 7, true: 7 + apart} {
		h := newHost(t)
		first := h.open("")
		must(t, first.Maps()["snat_cursors"].Put(uint32(9), uint32(7)))
		first.Close()
		h.becomesOther()
		if changed {
			h.changeOther("snat_cursors")
		}
		for range 2 {
			h.failUpgrade()
		}
		second := h.open("")
		var got uint32
		must(t, second.Maps()["snat_cursors"].Lookup(uint32(9), &got))
		equal(t, fmt.Sprintf("a cursor, changed %v", changed), got, want)
	}
}

// failUpgrade lets one come as far as the links, of which one is none.
func (h *host) failUpgrade() {
	h.t.Helper()
	bogus := filepath.Join(h.other(), "links", "uplink@bogus")
	must(h.t, os.MkdirAll(filepath.Dir(bogus), 0o700))
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	must(h.t, err)
	defer m.Close()
	must(h.t, m.Pin(bogus))
	if _, err := loader.Open(h.root, loader.Config{OnDemand: true}); err == nil {
		h.t.Fatal("a map passed for a link")
	}
	must(h.t, os.RemoveAll(filepath.Join(loader.PinsDir(h.root), "links")))
}

// The programs of both layouts are told for how long flows are on their way: for a
// bounded time, should the loader not come to its end, and for no longer when it does.
func TestUpgradePausesResets(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.open("").Close()
	h.becomesOther()
	theirs := h.pinOther("carrying_until", nil)
	h.failUpgrade()
	pinned, err := ebpf.LoadPinnedMap(filepath.Join(loader.PinsDir(h.root), "maps", "carrying_until"), nil)
	must(t, err)
	defer pinned.Close()
	left := func(m *ebpf.Map) time.Duration {
		t.Helper()
		var until uint64
		must(t, m.Lookup(uint32(0), &until))
		now, err := datapathmaps.Uptime()
		must(t, err)
		return time.Duration(until) - now
	}
	for whose, m := range map[string]*ebpf.Map{"of the other layout": theirs, "ours": pinned} {
		if d := left(m); d <= 0 || d > 10*time.Second {
			t.Errorf("%s: resets are paused for %v when an upgrade has failed", whose, d)
		}
	}
	h.open("")
	for whose, m := range map[string]*ebpf.Map{"of the other layout": theirs, "ours": pinned} {
		if d := left(m); d > 100*time.Millisecond {
			t.Errorf("%s: resets are paused for %v when all flows are carried over", whose, d)
		}
	}
}

// A daemon of before may have been killed before the maps were filled, or when
// links had programs of both layouts.
func TestUpgradeAfterAKill(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	uplink, bridge := h.veth("up0"), h.veth("br0")
	first := h.open("")
	must(t, first.AttachUplink("up0", uplink))
	must(t, first.AttachBridge("br0", bridge))
	putFlow(t, first, 1, flow(6))
	first.Close()
	h.becomesOther()
	for _, unfinished := range []string{loader.PinsDir(h.root) + "+", h.other() + "+"} {
		must(t, os.MkdirAll(filepath.Join(unfinished, "maps"), 0o700))
	}

	second := h.open("")
	h.wantNoOther()
	eraseFlow(t, second, 1)
	putFlow(t, second, 1, flow(8))
	second.Close()
	// As it was before the last of the links was moved.
	must(t, os.MkdirAll(filepath.Join(h.other(), "links"), 0o700))
	must(t, os.MkdirAll(filepath.Join(h.other(), "maps"), 0o700))
	must(t, os.Rename(filepath.Join(loader.PinsDir(h.root), "links", "bridge@br0"), filepath.Join(h.other(), "links", "bridge@br0")))
	old := h.pinOther("flows4", ofLayout4)
	must(t, old.Put(flowKey(1), flow(6)))
	must(t, old.Put(flowKey(2), flow(6)))

	third := h.open("")
	h.wantNoOther()
	h.wantPins("bridge@br0", "uplink@up0")
	h.wantTCX(uplink, ebpf.AttachTCXIngress, id(t, third, datapath.HookUplink))
	h.wantTCX(bridge, ebpf.AttachTCXEgress, id(t, third, datapath.HookBridge))
	wantFlow(t, "the flow that both had", third, 1, flow(8))
	wantFlow(t, "the flow that only the old one had", third, 2, flow(6))
}

// A daemon of another version may have been at work since: where all links are with
// its pins, ours are out of date.
func TestUpgradeFromWhoeverHasTheLinks(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	uplink := h.veth("up0")
	first := h.open("")
	must(t, first.AttachUplink("up0", uplink))
	first.Close()
	h.becomesOther()
	must(t, h.pinOther("flows4", ofLayout4).Put(flowKey(1), flow(8)))
	links := filepath.Join(h.other(), "links")
	kept := filepath.Join(h.root, "kept")
	must(t, os.Rename(links, kept))
	stale := h.open("")
	eraseFlow(t, stale, 1)
	putFlow(t, stale, 1, flow(6))
	putFlow(t, stale, 2, flow(6))
	stale.Close()
	must(t, os.MkdirAll(filepath.Join(h.other(), "maps"), 0o700))
	must(t, h.pinOther("flows4", ofLayout4).Put(flowKey(1), flow(8)))
	must(t, os.Rename(kept, links))

	l := h.open("")
	h.wantNoOther()
	h.wantPins("uplink@up0")
	wantFlow(t, "the flow that both had", l, 1, flow(8))
	if len(flowsOf(t, l)) != 1 {
		t.Error("a flow is there that has long ended")
	}
}

// Links whose device or cgroup is gone are left to whoever attaches next.
func TestUpgradeOfLinksWithoutTarget(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	dir, uplink := h.cgroup("gone"), h.veth("up0")
	first := h.open("")
	must(t, first.AttachSockets(dir))
	must(t, first.AttachUplink("up0", uplink))
	first.Close()
	h.becomesOther()
	must(t, os.Remove(dir))
	must(t, netlink.LinkDel(h.device("up0")))
	must(t, os.Mkdir(dir, 0o755))

	second := h.open("")
	h.wantNoOther()
	must(t, second.AttachSockets(dir))
	equal(t, "programs of the new cgroup", len(h.attached(dir)), len(socketPoints))
	must(t, second.DetachSockets())
}

// A daemon that cannot start leaves what is pinned as it was.
func TestUpgradeIsNotBegunInVain(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.open("").Close()
	h.becomesOther()
	if l, err := loader.Open(h.root, loader.Config{Attach: "nonsense"}); err == nil {
		l.Close()
		t.Error("it attaches by nonsense")
	}
	layouts, err := filepath.Glob(filepath.Join(h.root, "v*"))
	must(t, err)
	if !slices.Equal(layouts, []string{h.other()}) {
		t.Errorf("what is below the bpffs: %q", layouts)
	}
}

// Filters have no pins: they are replaced when they are attached, and our qdiscs
// are known as ours.
func TestUpgradeInClsact(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	uplink := h.veth("up0")
	first := h.open(loader.AttachClsact)
	must(t, first.AttachUplink("up0", uplink))
	first.Close()
	h.becomesOther()
	second := h.open(loader.AttachClsact)
	h.wantNoOther()
	must(t, second.AttachUplink("up0", uplink))
	equal(t, "packets passed by the new program", h.send(second, datapath.HookUplink, "up0"), 1)
	must(t, second.DetachUplink("up0"))
	qdiscs, err := netlink.QdiscList(h.device("up0"))
	must(t, err)
	for _, q := range qdiscs {
		if q.Type() == "clsact" {
			t.Error("the qdisc is left")
		}
	}
}
