package datapath_test

import (
	"bytes"
	"errors"
	"reflect"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
)

// What tc programs return.
const (
	next     = ^uint32(0) // TCX_NEXT
	pass     = 0          // TC_ACT_OK
	redirect = 7          // TC_ACT_REDIRECT
	shot     = 2          // TC_ACT_SHOT
)

// skb is the part of struct __sk_buff that TEST_RUN takes and gives back; see
// convert___skb_to_skb in net/bpf/test_run.c.
type skb struct {
	_              [2]uint32
	Mark           uint32
	_              [6]uint32
	IngressIfindex uint32
	Ifindex        uint32
	_              [27]uint32
	Tstamp         uint64
	_              [4]uint32
	GSOSize        uint32
	_              [3]uint32
}

// run sends raw bytes through a hook's program, as from a device that sums
// packets up, and asserts what holds for every packet: one counter of verdicts
// moves, checksums that were right stay right, and what is redirected carries
// neither mark nor time stamp.
func (f *fixture) run(hook datapath.Hook, context skb, raw []byte) (uint32, []byte) {
	f.t.Helper()
	return f.runWith(checksumComplete(), hook, context, raw)
}

// runAnswered is run for a packet that is answered by another one: that leaves by
// a device, which does not ask for its sum.
func (f *fixture) runAnswered(hook datapath.Hook, context skb, raw []byte) (uint32, []byte) {
	f.t.Helper()
	return f.runWith(0, hook, context, raw)
}

func (f *fixture) runWith(flags uint32, hook datapath.Hook, context skb, raw []byte) (uint32, []byte) {
	f.t.Helper()
	before, drops := f.packets(), f.drops()
	got := f.execute(flags, hook, context, raw)
	verdict, out, left := got.code, got.raw, got.left
	if !f.config.DryRun {
		counted := verdictOf(verdict)
		if !reflect.DeepEqual(f.drops(), drops) {
			counted = datapath.VerdictDrop // also when the sender is told of it
		}
		before[count{hook, counted}]++
	}
	expectEqual(f.t, "packet counters", f.packets(), before)
	if verifyChecksums(raw) == nil {
		if err := verifyChecksums(out); err != nil {
			f.t.Errorf("after the %s program: %v", hook, err)
		}
	}
	if verdict == redirect && left.Mark|uint32(left.Tstamp) != 0 {
		f.t.Errorf("redirected with mark %#x, time stamp %d", left.Mark, left.Tstamp)
	}
	return verdict, out
}

// result is what a program made of a frame.
type result struct {
	code uint32
	raw  []byte
	left skb
}

// execute sends raw bytes through a hook's program, with a mark and a time stamp.
func (f *fixture) execute(flags uint32, hook datapath.Hook, context skb, raw []byte) result {
	f.t.Helper()
	got, err := f.try(flags, hook, context, raw)
	if errors.Is(err, unix.EBADMSG) {
		f.t.Errorf("after the %s program the sum beside the packet is wrong", hook)
	} else if err != nil {
		f.t.Fatalf("run the %s program: %v", hook, err)
	}
	return got
}

// try is execute for who does not want the test to fail.
func (f *fixture) try(flags uint32, hook datapath.Hook, context skb, raw []byte) (result, error) {
	context.Mark, context.Tstamp = 0xbeef, 1
	var left skb
	options := &ebpf.RunOptions{Data: raw, DataOut: make([]byte, len(raw)+64), Context: context, ContextOut: &left, Flags: flags}
	code, err := f.program(hook).Run(options)
	return result{code, options.DataOut, left}, err
}

// checksumComplete is BPF_F_TEST_SKB_CHECKSUM_COMPLETE, of Linux 6.16: the packet
// has its sum beside it, which must be right afterwards, or EBADMSG. It is 0 where
// the kernel has none.
var checksumComplete = sync.OnceValue(func() uint32 {
	const flag = 1 << 2
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return 0
	}
	defer program.Close()
	if _, err := program.Run(&ebpf.RunOptions{Data: make([]byte, 64), Flags: flag}); err != nil {
		return 0
	}
	return flag
})

// fromContainer sends a frame from e, which the container hook sees.
func (f *fixture) fromContainer(e endpoint, sent frame) (uint32, []byte) {
	f.t.Helper()
	return f.run(datapath.HookContainer, skb{Ifindex: uint32(e.ifindex)}, sent.bytes())
}

// fromOutside sends a frame to the uplink.
func (f *fixture) fromOutside(sent frame) (uint32, []byte) {
	f.t.Helper()
	return f.run(datapath.HookUplink, skb{Ifindex: uint32(f.uplink)}, sent.bytes())
}

// fromHost sends a frame of the host to the first network's bridge.
func (f *fixture) fromHost(sent frame) (uint32, []byte) {
	f.t.Helper()
	return f.run(datapath.HookBridge, skb{Ifindex: uint32(f.bridge)}, sent.bytes())
}

// expect asserts a verdict and the packet that leaves, byte by byte.
func (f *fixture) expect(what string, verdict uint32, out []byte, wantVerdict uint32, want frame) {
	f.t.Helper()
	if verdict != wantVerdict {
		f.t.Fatalf("%s: verdict %d, want %d; drops: %v", what, int32(verdict), int32(wantVerdict), f.drops())
	}
	if !bytes.Equal(out, want.bytes()) {
		f.t.Fatalf("%s:\ngot  %x\nwant %x", what, out, want.bytes())
	}
}

// count names a counter of packets.
type count struct {
	hook    datapath.Hook
	verdict datapath.Verdict
}

func verdictOf(code uint32) datapath.Verdict {
	switch code {
	case next, pass:
		return datapath.VerdictPass
	case redirect:
		return datapath.VerdictRedirect
	}
	return datapath.VerdictDrop
}

func (f *fixture) packets() map[count]uint64 {
	f.t.Helper()
	counts := map[count]uint64{}
	for i, n := range f.sums("packet_counts") {
		counts[count{datapath.Hook(i) / datapath.Hook(datapath.Verdicts), datapath.Verdict(i) % datapath.Verdicts}] = n
	}
	return counts
}

// sums reads counters by one system call: nearly every test does so for each packet.
func (f *fixture) sums(table string) []uint64 {
	f.t.Helper()
	counters, cpus := f.loader.Maps()[table], ebpf.MustPossibleCPU()
	sums := make([]uint64, counters.MaxEntries())
	values := make([]uint64, len(sums)*cpus)
	_, err := counters.BatchLookup(new(ebpf.MapBatchCursor), make([]uint32, len(sums)), values, nil)
	if !errors.Is(err, ebpf.ErrKeyNotExist) { // of what comes after all
		must(f.t, err)
	}
	for i, n := range values {
		sums[i/cpus] += n
	}
	return sums
}

// drops returns the counters of all reasons that are above zero.
func (f *fixture) drops() map[reasons.Reason]uint64 {
	f.t.Helper()
	counts := map[reasons.Reason]uint64{}
	for reason, n := range f.sums("drop_counts") {
		if n > 0 {
			counts[reasons.Reason(reason)] = n
		}
	}
	return counts
}

// expectDrop sends raw bytes and asserts that they are dropped unchanged, and
// that the reason's counter, and no other, moves.
func (f *fixture) expectDrop(hook datapath.Hook, context skb, raw []byte, reason reasons.Reason) {
	f.t.Helper()
	want := f.drops()
	want[reason]++
	verdict, out := f.run(hook, context, raw)
	if verdict != shot {
		f.t.Errorf("verdict %d, want a drop for %s", int32(verdict), reason)
	}
	expectEqual(f.t, "drops", f.drops(), want)
	if !bytes.Equal(out, raw) {
		f.t.Errorf("the dropped packet was changed:\ngot  %x\nwant %x", out, raw)
	}
}

// dropsFrom asserts that a frame of an endpoint is dropped.
func (f *fixture) dropsFrom(e endpoint, sent frame, reason reasons.Reason) {
	f.t.Helper()
	f.expectDrop(datapath.HookContainer, skb{Ifindex: uint32(e.ifindex)}, sent.bytes(), reason)
}

// dropsFromOutside asserts that a frame to the uplink is dropped.
func (f *fixture) dropsFromOutside(sent frame, reason reasons.Reason) {
	f.t.Helper()
	f.expectDrop(datapath.HookUplink, skb{Ifindex: uint32(f.uplink)}, sent.bytes(), reason)
}

// dropsFromHost asserts that a frame of the host is dropped at the bridge.
func (f *fixture) dropsFromHost(sent frame, reason reasons.Reason) {
	f.t.Helper()
	f.expectDrop(datapath.HookBridge, skb{Ifindex: uint32(f.bridge)}, sent.bytes(), reason)
}
