package loader_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/loader"
)

// wantAttachment asserts what meets packets at a hook, others by the beginnings
// of their names.
func wantAttachment(t *testing.T, what string, got loader.Attachment, attached bool, before, behind []string) {
	t.Helper()
	same := func(got, want []string) bool {
		for i := range got {
			if i >= len(want) || !strings.HasPrefix(got[i], want[i]) {
				return false
			}
		}
		return len(got) == len(want)
	}
	if got.Attached != attached || !same(got.Before, before) || !same(got.Behind, behind) {
		t.Errorf("%s: %+v, want attached %v, before %q, behind %q", what, got, attached, before, behind)
	}
}

// filter adds somebody else's filter of tc.
func filter(t *testing.T, ifindex int, parent uint32, priority uint16) {
	t.Helper()
	err := netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}})
	if err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	must(t, netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: ifindex, Parent: parent, Handle: 1, Priority: priority, Protocol: unix.ETH_P_ALL},
		Name:        fmt.Sprintf("theirs-%d", priority), Fd: bystander(t).FD(), DirectAction: true,
	}))
}

// TestInspect covers a hook with and without us, and with others before us and
// behind us, in both modes.
func TestInspect(t *testing.T) {
	t.Parallel()
	for _, mode := range []loader.AttachMode{loader.AttachTCX, loader.AttachClsact} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			l := h.open(mode)
			for _, test := range hooks {
				device := "dev-" + test.hook.String()
				ifindex := h.veth(device)
				inspect := func() loader.Attachment {
					t.Helper()
					a, err := l.Inspect(test.hook, device, ifindex)
					must(t, err)
					return a
				}
				wantAttachment(t, "nobody", inspect(), false, nil, nil)
				must(t, test.attach(l, device, ifindex))
				wantAttachment(t, "alone", inspect(), true, nil, nil)

				first, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: bystander(t), Attach: test.point, Anchor: link.Head()})
				must(t, err)
				parent := uint32(netlink.HANDLE_MIN_INGRESS)
				if test.point == ebpf.AttachTCXEgress {
					parent = netlink.HANDLE_MIN_EGRESS
				}
				filter(t, ifindex, parent, 7)
				filter(t, ifindex, parent, 0x6000)
				before, behind := []string{"program "}, []string{"theirs-7 ", "theirs-24576 "}
				if mode == loader.AttachClsact {
					before, behind = []string{"program ", "theirs-7 "}, behind[1:]
				}
				wantAttachment(t, "in company", inspect(), true, before, behind)
				must(t, test.detach(l, device))
				wantAttachment(t, "others alone", inspect(), false, nil, []string{"program ", "theirs-7 ", "theirs-24576 "})
				must(t, first.Close())
			}
		})
	}
}

func TestInspectXDP(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	ifindex := h.veth("eth0")
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "theirs", Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm32(asm.R0, 2), asm.Return()},
	})
	must(t, err)
	defer program.Close()
	for _, want := range []string{"", "theirs (program "} {
		if want != "" {
			attached, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: ifindex})
			must(t, err)
			defer attached.Close()
		}
		got, err := loader.XDP(ifindex)
		must(t, err)
		if !strings.HasPrefix(got, want) || (got == "") != (want == "") {
			t.Errorf("XDP program %q, want %q", got, want)
		}
	}
}

func TestInspectSockets(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := h.open("")
	cgroup := h.cgroup("inspected")
	s, err := l.InspectSockets(cgroup)
	must(t, err)
	all := len(s.Missing)
	if all == 0 || len(s.Others) > 0 {
		t.Errorf("nobody: %+v", s)
	}
	must(t, l.AttachSockets(cgroup))
	s, err = l.InspectSockets(cgroup)
	must(t, err)
	if len(s.Missing) > 0 || len(s.Others) > 0 {
		t.Errorf("alone: %+v", s)
	}
	theirs, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "theirs", Type: ebpf.CGroupSockAddr, AttachType: ebpf.AttachCGroupInet4Bind, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm32(asm.R0, 1), asm.Return()},
	})
	must(t, err)
	defer theirs.Close()
	attached, err := link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: ebpf.AttachCGroupInet4Bind, Program: theirs})
	must(t, err)
	defer attached.Close()
	must(t, os.Remove(filepath.Join(loader.PinsDir(h.root), "links", "socket@socket_bind6")))
	// The kernel lets go of a link a moment after its last pin.
	for deadline := time.Now().Add(30 * time.Second); (len(s.Missing) != 1 || len(s.Others) != 1) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		s, err = l.InspectSockets(cgroup)
		must(t, err)
	}
	if len(s.Missing) != 1 || s.Missing[0] != "socket_bind6" || len(s.Others) != 1 || !strings.HasPrefix(s.Others[0], "theirs (") {
		t.Errorf("in company, and without one: %+v", s)
	}
}

// TestThisKernel covers what the tests run on, which must be able to run the
// datapath.
func TestThisKernel(t *testing.T) {
	t.Parallel()
	must(t, loader.CheckKernel())
	compiles, err := loader.JITCompiles()
	must(t, err)
	if always, _ := os.ReadFile("/proc/sys/net/core/bpf_jit_enable"); len(always) > 0 && (always[0] != '0') != compiles {
		t.Errorf("bpf_jit_enable is %s, machine code %v", always, compiles)
	}
}
