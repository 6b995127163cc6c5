package e2e

import (
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/loader"
)

// attachment is how a program meets the packets of a device.
type attachment struct {
	mode    string // "tcx" or "clsact"
	ifindex int
}

// attachments checks that every program is where it should be, once, and so
// that it stays there without the daemon.
func (c *checker) attachments() {
	info, got := systemInfo(c.Lab), map[string]attachment{}
	c.pinnedLinks(got)
	want := map[string]attachment{}
	c.must(c.Host.Do(func() error {
		c.filters(got)
		c.marks()
		add := func(hook, device string) {
			if l, err := netlink.LinkByName(device); err == nil {
				want[hook+"@"+device] = attachment{info.AttachMode, l.Attrs().Index}
			}
		}
		for _, n := range c.networks {
			if n.value.Driver == engine.DriverBridge {
				add("bridge", n.value.Bridge)
			}
		}
		for _, ep := range c.endpoints {
			add("container", ep.value.HostDevice)
		}
		for _, uplink := range info.Uplinks {
			add("uplink", uplink)
		}
		return nil
	}))
	same(c, "programs", got, want)
}

// pinnedLinks adds the links of tcx to those that are found, by hook@device, and
// counts those of sockets.
func (c *checker) pinnedLinks(found map[string]attachment) {
	var cgroup unix.Stat_t
	c.must(unix.Stat(c.Cgroup, &cgroup))
	dir := filepath.Join(loader.PinsDir(filepath.Join(c.Root, "bpf")), "links")
	sockets := 0
	for name := range c.entries("bpf", filepath.Base(loader.PinsDir("")), "links") {
		pinned, err := link.LoadPinnedLink(filepath.Join(dir, name), nil)
		if !c.must(err) {
			continue
		}
		info, err := pinned.Info()
		pinned.Close()
		switch {
		case !c.must(err):
		case info.TCX() != nil:
			found[strings.ReplaceAll(name, "%2E", ".")] = attachment{"tcx", int(info.TCX().Ifindex)}
		case info.Cgroup() != nil && info.Cgroup().CgroupId == cgroup.Ino:
			sockets++
		default:
			c.complain("%s is attached to nothing of ours", name)
		}
	}
	if sockets != 10 {
		c.complain("%d socket programs are attached, and 10 should be", sockets)
	}
}

// filters adds our filters of tc in the calling thread's namespace to what is
// found already.
func (c *checker) filters(found map[string]attachment) {
	devices, err := netlink.LinkList()
	c.must(err)
	for _, device := range devices {
		for _, program := range c.filtersOf(device) {
			name := program + "@" + device.Attrs().Name
			if other, ok := found[name]; ok {
				c.complain("%s is a filter, and attached by %s besides", name, other.mode)
			}
			found[name] = attachment{"clsact", device.Attrs().Index}
		}
	}
}

// marks checks that the qdiscs which are noted as ours are those of devices that
// are there, in the calling thread's namespace.
func (c *checker) marks() {
	for name := range c.entries("bpf", filepath.Base(loader.PinsDir("")), "qdiscs") {
		if _, err := netlink.LinkByName(strings.ReplaceAll(name, "%2E", ".")); err != nil {
			c.complain("the qdisc of %s is noted as ours: %v", name, err)
		}
	}
}

// filtersOf returns the hooks whose programs our filters of a device run.
func (c *checker) filtersOf(device netlink.Link) (hooks []string) {
	qdiscs, err := netlink.QdiscList(device)
	c.must(err)
	for _, qdisc := range qdiscs {
		if qdisc.Type() != "clsact" {
			continue
		}
		for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
			filters, err := netlink.FilterList(device, parent)
			c.must(err)
			for _, filter := range filters {
				if bpf, ok := filter.(*netlink.BpfFilter); ok && bpf.Name == "sluice" {
					hooks = append(hooks, c.hookOf(bpf))
				}
			}
		}
	}
	return hooks
}

// hookOf is the hook that a filter's program is made for, by the program's name.
func (c *checker) hookOf(filter *netlink.BpfFilter) string {
	program, err := ebpf.NewProgramFromID(ebpf.ProgramID(filter.Id))
	if !c.must(err) {
		return ""
	}
	defer program.Close()
	info, err := program.Info()
	if !c.must(err) {
		return ""
	}
	hook, _, _ := strings.Cut(info.Name, "_")
	return hook
}
