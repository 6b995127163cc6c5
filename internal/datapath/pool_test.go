package datapath_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/sluice-net/sluice/loader"
)

// pool keeps programs that a test has done with for the next one that wants the
// same constants: verifying them takes longer than anything that tests do. Their
// maps are emptied meanwhile.
var pool = struct {
	sync.Mutex
	idle map[string][]*loader.Loader
}{idle: map[string][]*loader.Loader{}}

// key names a configuration: its timeouts are a map, which no key of one can be.
func key(config loader.Config) string { return fmt.Sprintf("%+v", config) }

// borrow returns loaded programs whose maps are as the loader makes them, until
// the test ends.
func borrow(t testing.TB, config loader.Config) *loader.Loader {
	t.Helper()
	l := takeIdle(config)
	if l == nil {
		l = openLoader(t, config)
	}
	t.Cleanup(func() {
		for name, m := range l.Maps() {
			if name != "flow_seeds" { // the programs know it
				must(t, empty(m))
			}
		}
		pool.Lock()
		defer pool.Unlock()
		pool.idle[key(config)] = append(pool.idle[key(config)], l)
	})
	return l
}

func takeIdle(config loader.Config) *loader.Loader {
	pool.Lock()
	defer pool.Unlock()
	idle := pool.idle[key(config)]
	if len(idle) == 0 {
		return nil
	}
	pool.idle[key(config)] = idle[1:]
	return idle[0]
}

// openLoader loads programs whose pins are gone before anybody looks.
func openLoader(t testing.TB, config loader.Config) *loader.Loader {
	t.Helper()
	dir, err := os.MkdirTemp("", "datapath-test-")
	must(t, err)
	defer os.RemoveAll(dir)
	root := filepath.Join(dir, "bpf")
	must(t, loader.MountBPF(root))
	defer loader.Unmount(root)
	config.OnDemand = true
	l, err := loader.Open(root, config)
	must(t, err)
	return l
}

// empty removes the entries of a map, or makes them zero where they are always
// there.
func empty(m *ebpf.Map) error {
	switch m.Type() {
	case ebpf.Array, ebpf.PerCPUArray:
		return scrub(m)
	case ebpf.RingBuf:
		_, err := drain(m)
		return err
	}
	var key, value []byte
	var keys [][]byte
	for entries := m.Iterate(); entries.Next(&key, &value); {
		keys = append(keys, append([]byte{}, key...))
	}
	for _, key := range keys {
		if err := m.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// drain takes what is in a ring buffer.
func drain(events *ebpf.Map) (records [][]byte, err error) {
	reader, err := ringbuf.NewReader(events)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	reader.SetDeadline(time.Now())
	for {
		record, err := reader.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return records, nil
		}
		if err != nil {
			return nil, err
		}
		records = append(records, record.RawSample)
	}
}

// TestPoolLeavesNothing covers every map that a test may have written: what the
// loader makes is empty.
func TestPoolLeavesNothing(t *testing.T) {
	t.Parallel()
	config := loader.Config{LocalPorts: [2]uint16{2, 2}} // nobody else's
	t.Run("writes", func(t *testing.T) {
		for name, m := range borrow(t, config).Maps() {
			if m.Type() != ebpf.RingBuf && name != "flow_seeds" {
				must(t, fill(m))
			}
		}
	})
	for name, m := range borrow(t, config).Maps() {
		if m.Type() != ebpf.RingBuf && name != "flow_seeds" {
			expectEqual(t, name, entriesOf(t, m), map[string]string{})
		}
	}
}

// fill writes an entry that is not zero; of an array the first and the last.
func fill(m *ebpf.Map) error {
	key, value := make([]byte, m.KeySize()), bytes.Repeat([]byte{0xee}, int(m.ValueSize()))
	switch m.Type() {
	case ebpf.Array:
		return errors.Join(m.Put(uint32(0), value), m.Put(m.MaxEntries()-1, value))
	case ebpf.PerCPUArray:
		values := slices.Repeat([][]byte{value}, ebpf.MustPossibleCPU())
		return errors.Join(m.Put(uint32(0), values), m.Put(m.MaxEntries()-1, values))
	}
	return m.Put(key, value)
}

// entriesOf returns the entries of a map that are not zero.
func entriesOf(t *testing.T, m *ebpf.Map) map[string]string {
	t.Helper()
	all := map[string]string{}
	var key, value []byte
	var values [][]byte
	var into any = &value
	if m.Type() == ebpf.PerCPUArray {
		into = &values
	}
	entries := m.Iterate()
	for entries.Next(&key, into) {
		for _, v := range append(values, value) {
			if !allZero(v) {
				all[string(key)] += string(v)
			}
		}
	}
	must(t, entries.Err())
	return all
}

func allZero(value []byte) bool {
	for _, b := range value {
		if b != 0 {
			return false
		}
	}
	return true
}
