package loader_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests need root: they load programs and make network namespaces")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// host is a network namespace and a bpffs that no other test has.
type host struct {
	t    *testing.T
	root string // the bpffs
}

// newHost moves the test to a namespace of its own. The thread is never
// unlocked: it ends with the test.
func newHost(t *testing.T) *host {
	t.Helper()
	runtime.LockOSThread()
	must(t, unix.Unshare(unix.CLONE_NEWNET))
	// The kernel would send on its own, and be counted.
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0))
	h := &host{t: t, root: filepath.Join(t.TempDir(), "bpf")}
	must(t, loader.MountBPF(h.root))
	t.Cleanup(func() { must(t, loader.Unmount(h.root)) })
	return h
}

// open is a daemon that starts, in the mode if there is one.
func (h *host) open(mode loader.AttachMode) *loader.Loader {
	h.t.Helper()
	l, err := loader.Open(h.root, loader.Config{Attach: mode, ConntrackMax: 128, LogDir: h.t.TempDir()})
	must(h.t, err)
	h.t.Cleanup(l.Close)
	return l
}

// openMaps is one that loads no hook's programs, with room for so many flows.
func (h *host) openMaps(flows uint32) *loader.Loader {
	h.t.Helper()
	l, err := loader.Open(h.root, loader.Config{ConntrackMax: flows, OnDemand: true})
	must(h.t, err)
	h.t.Cleanup(l.Close)
	return l
}

// veth makes a pair, name and name+"p", and returns the ifindex of the first.
func (h *host) veth(name string) int {
	h.t.Helper()
	must(h.t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"}))
	for _, end := range []string{name, name + "p"} {
		must(h.t, netlink.LinkSetUp(h.device(end)))
	}
	return h.device(name).Attrs().Index
}

func (h *host) device(name string) netlink.Link {
	h.t.Helper()
	l, err := netlink.LinkByName(name)
	must(h.t, err)
	return l
}

func (h *host) delete(name string) { must(h.t, netlink.LinkDel(h.device(name))) }

func (h *host) rename(from, to string) {
	h.t.Helper()
	must(h.t, netlink.LinkSetName(h.device(from), to))
}

// pins are the names of the pinned links.
func (h *host) pins() (names []string) {
	h.t.Helper()
	entries, err := os.ReadDir(filepath.Join(loader.PinsDir(h.root), "links"))
	must(h.t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func (h *host) wantPins(want ...string) {
	h.t.Helper()
	if got := h.pins(); !slices.Equal(got, want) {
		h.t.Errorf("pins: got %q, want %q", got, want)
	}
}

// tcx are the programs of a device's tcx hook, in the order they run.
func (h *host) tcx(ifindex int, point ebpf.AttachType) (ids []ebpf.ProgramID) {
	h.t.Helper()
	result, err := link.QueryPrograms(link.QueryOptions{Target: ifindex, Attach: point})
	must(h.t, err)
	for _, program := range result.Programs {
		ids = append(ids, program.ID)
	}
	return ids
}

func (h *host) wantTCX(ifindex int, point ebpf.AttachType, want ...ebpf.ProgramID) {
	h.t.Helper()
	if got := h.tcx(ifindex, point); !slices.Equal(got, want) {
		h.t.Errorf("programs of device %d: got %v, want %v", ifindex, got, want)
	}
}

// unanswered is an experimental ethertype, which nothing answers.
const unanswered = 0x88b5

// send puts a frame on the wire behind the device and returns how many packets
// the hook has passed for it.
func (h *host) send(l *loader.Loader, hook datapath.Hook, device string) uint64 {
	h.t.Helper()
	m, err := maps.New(l.Maps(), l.FlowTable())
	must(h.t, err)
	before := h.passed(m, hook)
	arrived := h.socket(device)
	frame := make([]byte, 60)
	copy(frame, h.device(device).Attrs().HardwareAddr)
	binary.BigEndian.PutUint16(frame[12:], unanswered)
	_, err = unix.Write(h.socket(device+"p"), frame)
	must(h.t, err)
	_, err = unix.Read(arrived, frame) // the hook comes before it
	must(h.t, err)
	return h.passed(m, hook) - before
}

// socket sends frames on a device and receives the unanswered ones.
func (h *host) socket(device string) int {
	h.t.Helper()
	protocol := unanswered<<8&0xff00 | unanswered>>8
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	must(h.t, err)
	h.t.Cleanup(func() { unix.Close(socket) })
	must(h.t, unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: uint16(protocol), Ifindex: h.device(device).Attrs().Index}))
	must(h.t, unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60}))
	return socket
}

func (h *host) passed(m *maps.Maps, hook datapath.Hook) uint64 {
	h.t.Helper()
	n, err := m.Packets(hook, datapath.VerdictPass)
	must(h.t, err)
	return n
}

// id is the kernel's number of a packet hook's program.
func id(t testing.TB, l *loader.Loader, hook datapath.Hook) ebpf.ProgramID {
	t.Helper()
	info, err := l.Program(hook).Info()
	must(t, err)
	number, _ := info.ID()
	return number
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
