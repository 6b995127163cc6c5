package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

// flowCarrier fills a tenured table with the halves of another layout's: a hash
// table, or an array of entries with tags beside it.
type flowCarrier struct {
	from, tags *ebpf.Map // tags of an array
	to         *maps.Tenured
	key, half  member // of the entries of `from`
	become     entryConversion
}

// member is what entries have somewhere.
type member struct {
	of     btf.Type
	offset int
}

// tenured is the table whose entries a map has.
func (l *Loader) tenured(name string) *maps.Tenured {
	family := 4
	if name == "flows6" {
		family = 6
	}
	return maps.NewTenured(l.maps, family, l.flowTable)
}

// newFlowCarrier fails for a table whose halves cannot become ours. tags are those of
// `from`, nil where there are none.
func (l *Loader) newFlowCarrier(from, tags *ebpf.Map, name string) (c flowCarrier, err error) {
	c = flowCarrier{from: from, tags: tags, to: l.tenured(name)}
	if c.key, c.half, err = halfTypes(from); err != nil {
		return c, err
	}
	key, half, err := halfTypes(l.maps[name])
	if err != nil {
		return c, err
	}
	if c.become, err = convertEntry(c.key.of, c.half.of, key.of, half.of); err != nil {
		return c, err
	}
	if from.Type() == ebpf.Array {
		err = sameTags(from, tags, l.maps[tagsOf[name]])
	}
	return c, err
}

// halfTypes returns what a table's keys and halves are: of a hash table the keys and
// values, of an array two members of its values.
func halfTypes(table *ebpf.Map) (key, half member, err error) {
	ofKeys, ofValues, err := typesOf(table)
	if err != nil {
		return key, half, err
	}
	switch table.Type() {
	case ebpf.Hash, ebpf.LRUHash:
		return member{of: ofKeys}, member{of: ofValues}, nil
	case ebpf.Array:
		if key, err = memberOf(ofValues, "key"); err == nil {
			half, err = memberOf(ofValues, "flow")
		}
		return key, half, err
	default:
		return key, half, fmt.Errorf("it was of type %s", table.Type())
	}
}

func memberOf(entry btf.Type, name string) (member, error) {
	if entry, ok := entry.(*btf.Struct); ok {
		for _, m := range entry.Members {
			if m.Name == name {
				return member{m.Type, int(m.Offset.Bytes())}, nil
			}
		}
	}
	return member{}, fmt.Errorf("its entries have no %s", name)
}

// sameTags fails for tags of another layout's entries that do not say what ours do.
func sameTags(entries, tags, ours *ebpf.Map) error {
	if tags == nil || tags.Type() != ebpf.Array || tags.MaxEntries()*datapath.FlowWays != entries.MaxEntries() {
		return fmt.Errorf("its entries have no tags")
	}
	_, was, err := typesOf(tags)
	if err != nil {
		return err
	}
	_, is, err := typesOf(ours)
	if err == nil && !sameFields(was, is) {
		err = fmt.Errorf("its tags are not of the same kind")
	}
	return err
}

// carry puts halves where there are none yet, and returns how many.
func (c flowCarrier) carry() (n int, err error) {
	err = c.each(func(key, half []byte) error {
		key, half, err := c.become.apply(key, half)
		if err != nil {
			return err
		}
		put, err := c.to.Put(key, half)
		if put {
			n++
		}
		return err
	})
	return n, err
}

// each calls visit for each half that is there before and after.
func (c flowCarrier) each(visit func(key, half []byte) error) error {
	if c.from.Type() != ebpf.Array {
		return eachEntry(c.from, visit)
	}
	return maps.EachTenured(c.from, c.tags, func(entry []byte) error {
		return visit(entry[c.key.offset:], entry[c.half.offset:])
	})
}
