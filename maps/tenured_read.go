package maps

import (
	"fmt"
	"math/bits"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
)

// EachTenured calls visit for every valid entry of a tenured table that is there
// before and after, whatever programs do to others meanwhile. It needs the array of
// entries, of whichever size, and that of the sets' tags. The bytes are good until
// visit returns; an error of its ends the walk.
func EachTenured(entries, tags *ebpf.Map, visit func(entry []byte) error) error {
	r := entryReader{entries: entries, visit: visit, size: int(entries.ValueSize())}
	r.keys = make([]uint32, max(datapath.FlowWays, batchSize(entries)/datapath.FlowWays*datapath.FlowWays))
	r.values = make([]byte, len(r.keys)*r.size)
	return eachSets(tags, r.read)
}

// eachSets reads the tags in batches, and tells which set is the first of each.
func eachSets(tags *ebpf.Map, visit func(first uint32, sets []datapath.FlowTags) error) error {
	indexes := make([]uint32, batchSize(tags))
	sets := make([]datapath.FlowTags, len(indexes))
	var failed error
	err := eachBatch(tags, indexes, sets, func(n int) {
		if failed == nil && n > 0 {
			failed = visit(indexes[0], sets[:n])
		}
	})
	if err != nil {
		return fmt.Errorf("read the tags of conntrack entries: %w", err)
	}
	return failed
}

// tagTaken is the tag of an entry that somebody is writing; lower is that of a free one.
const tagTaken = 1

// validWays returns which of a set's entries are valid, as bits: the tag of way i is
// in word i % 4, its lane i / 4.
func validWays(set *datapath.FlowTags) (ways uint32) {
	for way := range datapath.FlowWays {
		if uint16(set.Words[way%4]>>(way/4*16)) > tagTaken {
			ways |= 1 << way
		}
	}
	return ways
}

// entryReader reads the entries of sets, as many at once as there is room for.
type entryReader struct {
	entries *ebpf.Map
	visit   func(entry []byte) error
	size    int      // of an entry
	keys    []uint32 // for the kernel to write to
	values  []byte
}

// read visits what is valid in neighbouring sets. Those that are empty are not read.
func (r *entryReader) read(first uint32, sets []datapath.FlowTags) error {
	for begin := 0; begin < len(sets); {
		end := begin
		for end < len(sets) && (end-begin+1)*datapath.FlowWays <= len(r.keys) && validWays(&sets[end]) != 0 {
			end++
		}
		if begin == end {
			begin++
			continue
		}
		if err := r.readSets(first+uint32(begin), sets[begin:end]); err != nil {
			return err
		}
		begin = end
	}
	return nil
}

func (r *entryReader) readSets(first uint32, sets []datapath.FlowTags) error {
	err := readArray(r.entries, first*datapath.FlowWays, r.keys[:len(sets)*datapath.FlowWays], r.values)
	if err != nil {
		return fmt.Errorf("read conntrack entries: %w", err)
	}
	for i := range sets {
		for ways := validWays(&sets[i]); ways != 0; ways &= ways - 1 {
			at := (i*datapath.FlowWays + bits.TrailingZeros32(ways)) * r.size
			if err := r.visit(r.values[at : at+r.size : at+r.size]); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookupBatch is what BPF_MAP_LOOKUP_BATCH takes of the kernel's union bpf_attr.
type lookupBatch struct {
	inBatch, outBatch, keys, values unsafe.Pointer
	count, fd                       uint32
	elemFlags, flags                uint64
}

// readArray reads as many values of an array as there are keys, in one system call,
// from an index on: ebpf.Map.BatchLookup begins at the first one.
func readArray(m *ebpf.Map, first uint32, keys []uint32, values []byte) error {
	before, last := first-1, uint32(0) // the kernel takes the one before for the place to go on from
	attr := lookupBatch{
		inBatch: unsafe.Pointer(&before), outBatch: unsafe.Pointer(&last),
		keys: unsafe.Pointer(unsafe.SliceData(keys)), values: unsafe.Pointer(unsafe.SliceData(values)),
		count: uint32(len(keys)), fd: uint32(m.FD()),
	}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_LOOKUP_BATCH, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(m)
	if errno != 0 {
		return errno
	}
	if int(attr.count) != len(keys) {
		return fmt.Errorf("%d entries from index %d on, of %d", attr.count, first, len(keys))
	}
	return nil
}
