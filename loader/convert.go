package loader

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// conversion makes keys or values of one layout those of another.
type conversion struct {
	size  int // of what it makes
	moves []move
}

// move is a field that both have. A number that has become wider has zeros in front,
// and of one that has become narrower those bytes are left out, which have to be zero.
type move struct {
	name                    string
	from, to, size, without int
}

// entryConversion makes entries of one layout those of another.
type entryConversion struct{ key, value conversion }

// convertEntry returns how entries become those of another layout.
func convertEntry(fromKey, fromValue, toKey, toValue btf.Type) (c entryConversion, err error) {
	if c.key, err = convertKey(fromKey, toKey); err == nil {
		c.value, err = convertValue(fromValue, toValue)
	}
	return c, err
}

func (c entryConversion) apply(key, value []byte) (newKey, newValue []byte, err error) {
	if newKey, err = c.key.apply(key); err == nil {
		newValue, err = c.value.apply(value)
	}
	return newKey, newValue, err
}

// convertKey returns how keys become those of another layout. Either has
// everything that the other has, or two could become one.
func convertKey(from, to btf.Type) (conversion, error) {
	c, missing, err := converted(from, to)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("keys have no %s", strings.Join(missing, ", "))
	}
	if err != nil {
		return c, err
	}
	_, missing, err = converted(to, from)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("keys have %s no more", strings.Join(missing, ", "))
	}
	return c, err
}

// convertValue returns how values become those of another layout: fields go by
// their names, and what is new is zero.
func convertValue(from, to btf.Type) (conversion, error) {
	c, _, err := converted(from, to)
	return c, err
}

// converted also returns the fields of `to` that `from` does not have.
func converted(from, to btf.Type) (c conversion, missing []string, err error) {
	if from == nil || to == nil {
		return c, nil, fmt.Errorf("its types are not known")
	}
	old, err := fieldsOf(from)
	if err != nil {
		return c, nil, err
	}
	wanted, err := fieldsOf(to)
	if err != nil {
		return c, nil, err
	}
	if c.size, err = btf.Sizeof(to); err != nil {
		return c, nil, err
	}
	for name, f := range wanted {
		was, ok := old[name]
		switch {
		case reserved(name):
		case !ok:
			missing = append(missing, name)
		case was.size == f.size || was.number && f.number:
			size := min(was.size, f.size)
			c.moves = append(c.moves, move{name, was.offset, f.offset, size, was.size - size})
		default:
			return c, nil, fmt.Errorf("%s had %d bytes and has %d", name, was.size, f.size)
		}
	}
	return c, missing, nil
}

// reserved reports whether a field has nothing in it.
func reserved(name string) bool {
	return name[strings.LastIndex(name, ".")+1:] == "reserved"
}

// apply makes one, unless a number is too large. The machine is little endian, as the
// programs are.
func (c conversion) apply(from []byte) ([]byte, error) {
	to := make([]byte, c.size)
	for _, m := range c.moves {
		end := m.from + m.size
		if !isZero(from[end : end+m.without]) {
			return nil, fmt.Errorf("%w: %s is too large for %d bytes; run `sluice system reset` first", ErrLayout, m.name, m.size)
		}
		copy(to[m.to:], from[m.from:end])
	}
	return to, nil
}
