package loader

import (
	"fmt"
	"maps"

	"github.com/cilium/ebpf/btf"
)

// field is where a key or value has something.
type field struct {
	offset, size int
	number       bool // in host byte order: it may become wider or narrower
}

// fieldsOf returns what a type has, by name: "head.created". A type without
// names is one field, "".
func fieldsOf(t btf.Type) (map[string]field, error) {
	fields := map[string]field{}
	return fields, addFields(fields, t, "", 0)
}

func addFields(fields map[string]field, t btf.Type, name string, offset int) error {
	number := !networkOrder(t)
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		for _, m := range t.Members {
			if m.BitfieldSize > 0 {
				return fmt.Errorf("%s is a bit field", m.Name)
			}
			within := m.Name
			if name != "" {
				within = name + "." + m.Name
			}
			if err := addFields(fields, m.Type, within, offset+int(m.Offset.Bytes())); err != nil {
				return err
			}
		}
		return nil
	case *btf.Int, *btf.Enum:
		size, err := btf.Sizeof(t)
		fields[name] = field{offset, size, number}
		return err
	case *btf.Array:
		size, err := btf.Sizeof(t)
		fields[name] = field{offset, size, false}
		return err
	default:
		return fmt.Errorf("%s is of a kind that no map has: %v", name, t)
	}
}

// networkOrder reports whether a type is the kernel's for bytes of packets.
func networkOrder(t btf.Type) bool {
	for {
		named, ok := t.(*btf.Typedef)
		if !ok {
			return false
		}
		switch named.Name {
		case "__be16", "__be32", "__be64":
			return true
		}
		t = named.Type
	}
}

// sameFields reports whether two types have the same fields at the same places.
func sameFields(a, b btf.Type) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	of, err := fieldsOf(a)
	if err != nil {
		return false
	}
	is, err := fieldsOf(b)
	return err == nil && maps.Equal(of, is)
}
