package ipam

import (
	"errors"
	"net/netip"
	"testing"
)

func TestUniqueLocalPrefixIsChosenOnce(t *testing.T) {
	t.Parallel()
	db, other := open(t), open(t)
	first, err := UniqueLocal(db)
	if err != nil {
		t.Fatal(err)
	}
	if !netip.MustParsePrefix("fd00::/8").Contains(first.Addr()) || first.Bits() != 48 || first != first.Masked() {
		t.Errorf("UniqueLocal = %s: no /48 of fd00::/8", first)
	}
	if again, err := UniqueLocal(db); err != nil || again != first {
		t.Errorf("it changed from %s to %s (%v)", first, again, err)
	}
	if theirs, _ := UniqueLocal(other); theirs == first {
		t.Errorf("two instances have %s", first)
	}
}

func TestChoosePool6(t *testing.T) {
	t.Parallel()
	local := netip.MustParsePrefix("fd12:3456:789a::/48")
	for _, c := range []struct {
		taken []string
		want  string
	}{
		{nil, "fd12:3456:789a::/64"},
		{[]string{"172.17.0.0/16", "fd12:3456:789a::/64", "fd12:3456:789a:1::7/128"}, "fd12:3456:789a:2::/64"},
		{[]string{"fd12:3456:789a::/52"}, "fd12:3456:789a:1000::/64"},
		{[]string{"fd00::/8"}, ""},
	} {
		var taken []netip.Prefix
		for _, p := range c.taken {
			taken = append(taken, netip.MustParsePrefix(p))
		}
		got, err := ChoosePool6(local, taken)
		if c.want == "" {
			if !errors.Is(err, ErrNoPool6) {
				t.Errorf("ChoosePool6(%v) = %v, %v", c.taken, got, err)
			}
			continue
		}
		if err != nil || got.String() != c.want {
			t.Errorf("ChoosePool6(%v) = %v, %v, want %s", c.taken, got, err, c.want)
		}
	}
}
