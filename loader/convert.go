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

// move is a field that both have. A number that has become wider has zeros in front.
type move struct{ from, to, size int }

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
		case was.size == f.size || was.number && f.number && was.size < f.size:
			c.moves = append(c.moves, move{was.offset, f.offset, was.size})
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

// apply makes one. The machine is little endian, as the programs are.
func (c conversion) apply(from []byte) []byte {
	to := make([]byte, c.size)
	for _, m := range c.moves {
		copy(to[m.to:m.to+m.size], from[m.from:])
	}
	return to
}
