package loader

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/cilium/ebpf"
)

// carrier fills a map with what a map of another layout has.
type carrier struct {
	from, to *ebpf.Map
	become   entryConversion
}

// newCarrier fails for maps whose entries cannot become those of the other.
func newCarrier(from, to *ebpf.Map) (c carrier, err error) {
	if from.Type() != to.Type() {
		return c, fmt.Errorf("it was of type %s", from.Type())
	}
	oldKey, oldValue, err := typesOf(from)
	if err != nil {
		return c, err
	}
	key, value, err := typesOf(to)
	if err != nil {
		return c, err
	}
	c = carrier{from: from, to: to}
	c.become, err = convertEntry(oldKey, oldValue, key, value)
	return c, err
}

// carry puts entries where there are none yet, and returns how many.
func (c carrier) carry() (n int, err error) {
	switch c.from.Type() {
	case ebpf.Array, ebpf.PerCPUArray:
		return c.carryArray()
	default:
		return c.carryHash()
	}
}

// carryArray takes zero for nothing.
func (c carrier) carryArray() (n int, err error) {
	for index := range min(c.from.MaxEntries(), c.to.MaxEntries()) {
		was, err := c.valuesAt(c.from, index)
		if err != nil {
			return n, err
		}
		is, err := c.valuesAt(c.to, index)
		if err != nil {
			return n, err
		}
		if isZero(slices.Concat(was...)) || !isZero(slices.Concat(is...)) {
			continue
		}
		if err := c.putAt(index, was); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// valuesAt are the values at an index, of each CPU where each has one.
func (c carrier) valuesAt(m *ebpf.Map, index uint32) (values [][]byte, err error) {
	if m.Type() == ebpf.PerCPUArray {
		return values, m.Lookup(index, &values)
	}
	values = [][]byte{make([]byte, m.ValueSize())}
	return values, m.Lookup(index, values[0])
}

func (c carrier) putAt(index uint32, was [][]byte) error {
	values := make([][]byte, len(was))
	for cpu, value := range was {
		var err error
		if values[cpu], err = c.become.value.apply(value); err != nil {
			return err
		}
	}
	if c.to.Type() == ebpf.PerCPUArray {
		return c.to.Put(index, values)
	}
	return c.to.Put(index, values[0])
}

func isZero(value []byte) bool {
	return !slices.ContainsFunc(value, func(b byte) bool { return b != 0 })
}

func (c carrier) carryHash() (n int, err error) {
	err = eachEntry(c.from, func(key, value []byte) error {
		key, value, err := c.become.apply(key, value)
		if err != nil {
			return err
		}
		err = c.to.Update(key, value, ebpf.UpdateNoExist)
		if errors.Is(err, ebpf.ErrKeyExist) {
			return nil
		}
		if err == nil {
			n++
		}
		return err
	})
	return n, err
}

// entriesAtOnce is more than any bucket of a hash table has.
const entriesAtOnce = 4096

// eachEntry calls visit for each entry of a hash table or trie that is there
// before and after, whatever programs do to others meanwhile.
func eachEntry(m *ebpf.Map, visit func(key, value []byte) error) error {
	keySize, valueSize := int(m.KeySize()), int(m.ValueSize())
	keys, values := bytesOf(keySize), bytesOf(valueSize)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys.Interface(), values.Interface(), nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		for i := range n {
			if err := visit(keys.Index(i).Slice(0, keySize).Bytes(), values.Index(i).Slice(0, valueSize).Bytes()); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// bytesOf is room for as many arrays of size bytes.
func bytesOf(size int) reflect.Value {
	return reflect.MakeSlice(reflect.SliceOf(reflect.ArrayOf(size, reflect.TypeFor[byte]())), entriesAtOnce, entriesAtOnce)
}
