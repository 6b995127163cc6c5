package ipam

import (
	"errors"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/sluice-net/sluice/internal/store"
)

func open(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func update(t *testing.T, db *store.DB, fn func(*store.Tx) error) {
	t.Helper()
	if err := db.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, db *store.DB, subnet netip.Prefix) {
	t.Helper()
	update(t, db, func(tx *store.Tx) error {
		return AddSubnet(tx, "net", subnet, subnet.Addr().Next())
	})
}

func allocate(t *testing.T, db *store.DB, subnet netip.Prefix) (addr netip.Addr, err error) {
	t.Helper()
	err = db.Update(func(tx *store.Tx) (err error) {
		addr, err = Allocate(tx, "net", subnet)
		return err
	})
	return addr, err
}

func TestLowestFreeAddress(t *testing.T) {
	t.Parallel()
	db, subnet := open(t), netip.MustParsePrefix("172.17.0.0/16")
	add(t, db, subnet)
	for _, want := range []string{"172.17.0.2", "172.17.0.3", "172.17.0.4"} {
		if got, err := allocate(t, db, subnet); err != nil || got.String() != want {
			t.Fatalf("Allocate = %v, %v, want %s", got, err, want)
		}
	}
	update(t, db, func(tx *store.Tx) error {
		return Release(tx, "net", subnet, netip.MustParseAddr("172.17.0.3"))
	})
	if got, _ := allocate(t, db, subnet); got.String() != "172.17.0.3" {
		t.Fatalf("a freed address is not handed out again: %v", got)
	}
}

func TestExhaustion(t *testing.T) {
	t.Parallel()
	for prefix, usable := range map[string]int{
		"10.0.0.0/30": 1,
		"10.0.0.8/29": 5,
		"10.0.0.0/24": 253,
		"10.0.0.0/19": 8189, // two chunks
		"fd00::/126":  2,
		"fd00::/115":  8190,
	} {
		t.Run(prefix, func(t *testing.T) {
			t.Parallel()
			db, subnet := open(t), netip.MustParsePrefix(prefix)
			add(t, db, subnet)
			seen := map[netip.Addr]bool{}
			err := db.Update(func(tx *store.Tx) error {
				for {
					addr, err := Allocate(tx, "net", subnet)
					if errors.Is(err, ErrExhausted) {
						return nil
					}
					if err != nil {
						return err
					}
					if seen[addr] || !subnet.Contains(addr) {
						t.Errorf("%v handed out twice or outside", addr)
					}
					seen[addr] = true
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(seen) != usable {
				t.Errorf("%d addresses, want %d", len(seen), usable)
			}
		})
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	db, subnet := open(t), netip.MustParsePrefix("172.20.0.0/16")
	add(t, db, subnet)
	for _, c := range []struct {
		addr string
		want error
	}{
		{"172.20.200.7", nil},
		{"172.20.200.7", ErrInUse},
		{"172.20.0.0", ErrInUse},
		{"172.20.0.1", ErrInUse},
		{"172.20.255.255", ErrInUse},
		{"172.21.0.2", ErrOutside},
	} {
		err := db.Update(func(tx *store.Tx) error {
			return Request(tx, "net", subnet, netip.MustParseAddr(c.addr))
		})
		if !errors.Is(err, c.want) {
			t.Errorf("Request(%s) = %v, want %v", c.addr, err, c.want)
		}
	}
}

func TestRemoveNetworkSparesOthers(t *testing.T) {
	t.Parallel()
	db, subnet := open(t), netip.MustParsePrefix("10.0.0.0/24")
	add(t, db, subnet)
	update(t, db, func(tx *store.Tx) error {
		return AddSubnet(tx, "net2", subnet, netip.MustParseAddr("10.0.0.1"))
	})
	update(t, db, func(tx *store.Tx) error { return RemoveNetwork(tx, "net") })
	err := db.View(func(tx *store.Tx) error {
		if tx.GetRaw(bucket, "net/00000") != nil {
			t.Error("the network's chunk stayed")
		}
		if tx.GetRaw(bucket, "net2/00000") == nil {
			t.Error("another network's chunk is gone")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestChoosePool(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		taken []string
		want  string
	}{
		{nil, "172.17.0.0/16"},
		{[]string{"172.17.3.0/24"}, "172.18.0.0/16"},
		{[]string{"172.16.0.0/12"}, "192.168.0.0/20"},
		{[]string{"172.16.0.0/12", "192.168.1.1/32"}, "192.168.16.0/20"},
		{[]string{"172.16.0.0/12", "192.168.0.0/17"}, "192.168.128.0/24"},
		{[]string{"172.16.0.0/12", "192.168.0.0/16"}, ""},
	} {
		var taken []netip.Prefix
		for _, p := range c.taken {
			taken = append(taken, netip.MustParsePrefix(p))
		}
		got, err := ChoosePool(taken)
		if c.want == "" {
			if !errors.Is(err, ErrNoPool) {
				t.Errorf("ChoosePool(%v) = %v, %v", c.taken, got, err)
			}
			continue
		}
		if err != nil || got.String() != c.want {
			t.Errorf("ChoosePool(%v) = %v, %v, want %s", c.taken, got, err, c.want)
		}
	}
}

// TestManyNetworks: Docker's 31 pools are used up sooner than one thinks.
func TestManyNetworks(t *testing.T) {
	t.Parallel()
	var taken []netip.Prefix
	for len(taken) < 100 {
		pool, err := ChoosePool(taken)
		if err != nil {
			t.Fatalf("after %d networks: %v", len(taken), err)
		}
		taken = append(taken, pool)
	}
}

func allocateHigh(t *testing.T, db *store.DB, subnet netip.Prefix, seed uint32) (addr netip.Addr, err error) {
	t.Helper()
	err = db.Update(func(tx *store.Tx) (err error) {
		addr, err = AllocateHigh(tx, "net", subnet, seed)
		return err
	})
	return addr, err
}

func TestAllocateHigh(t *testing.T) {
	t.Parallel()
	db, subnet := open(t), netip.MustParsePrefix("172.17.0.0/28")
	add(t, db, subnet)
	for _, test := range []struct {
		seed uint32
		want string
	}{
		{1, "172.17.0.14"}, {3, "172.17.0.12"}, {7, "172.17.0.13"}, // 7 is 3 again: the highest free one
		{0, "172.17.0.11"}, // the broadcast address is taken
	} {
		if got, err := allocateHigh(t, db, subnet, test.seed); err != nil || got.String() != test.want {
			t.Errorf("AllocateHigh(%d) = %v, %v, want %s", test.seed, got, err, test.want)
		}
	}
	for range 9 {
		if _, err := allocate(t, db, subnet); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := allocateHigh(t, db, subnet, 5); !errors.Is(err, ErrExhausted) {
		t.Errorf("AllocateHigh in a full network = %v, %v", got, err)
	}
}

func TestTaken(t *testing.T) {
	t.Parallel()
	db, subnet := open(t), netip.MustParsePrefix("10.0.0.0/16") // of many chunks
	subnet6 := netip.MustParsePrefix("fd00::/64")
	want := func(n Count) {
		t.Helper()
		err := db.View(func(tx *store.Tx) error {
			taken, err := Taken(tx)
			if taken["net"] != n {
				t.Errorf("%v addresses are taken, want %v", taken["net"], n)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	want(Count{})
	add(t, db, subnet)
	want(Count{IPv4: Reserved(subnet)})
	add(t, db, subnet6)
	want(Count{IPv4: 3, IPv6: Reserved(subnet6)})
	for _, s := range []netip.Prefix{subnet, subnet6} {
		allocate(t, db, s)
		allocateHigh(t, db, s, 7)
	}
	want(Count{IPv4: 5, IPv6: 4})
	update(t, db, func(tx *store.Tx) error { return RemoveNetwork(tx, "net") })
	want(Count{})
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		subnet       string
		first, high  string
		requested    string
		anycast, out string
	}{
		{"fd12:3456:789a:1::/64", "fd12:3456:789a:1::2", "fd12:3456:789a:1:ffff:ffff:ffff:fff8", "fd12:3456:789a:1:dead:beef::1", "fd12:3456:789a:1::", "fd12:3456:789a:2::2"},
		{"fd00::/16", "fd00::2", "fd00:ffff:ffff:ffff:ffff:ffff:ffff:fff8", "fd00:1:2:3:4:5:6:7", "fd00::", "fd01::"},
		{"2001:db8::8000/113", "2001:db8::8002", "2001:db8::fff8", "2001:db8::9999", "2001:db8::8000", "2001:db8::7fff"},
	} {
		t.Run(test.subnet, func(t *testing.T) {
			t.Parallel()
			db, subnet := open(t), netip.MustParsePrefix(test.subnet)
			add(t, db, subnet)
			add(t, db, netip.MustParsePrefix("10.0.0.0/24")) // apart from it
			if got, err := allocate(t, db, subnet); err != nil || got.String() != test.first {
				t.Errorf("Allocate = %v, %v, want %s", got, err, test.first)
			}
			for _, want := range []string{test.high, netip.MustParseAddr(test.high[:len(test.high)-1] + "f").String()} {
				if got, err := allocateHigh(t, db, subnet, 7); err != nil || got.String() != want {
					t.Errorf("AllocateHigh = %v, %v, want %s", got, err, want)
				}
			}
			for _, c := range []struct {
				addr string
				want error
			}{
				{test.requested, nil}, {test.requested, ErrInUse}, {test.anycast, ErrInUse}, {test.out, ErrOutside}, {"10.0.0.7", ErrOutside},
			} {
				err := db.Update(func(tx *store.Tx) error { return Request(tx, "net", subnet, netip.MustParseAddr(c.addr)) })
				if !errors.Is(err, c.want) {
					t.Errorf("Request(%s) = %v, want %v", c.addr, err, c.want)
				}
			}
			update(t, db, func(tx *store.Tx) error { return Release(tx, "net", subnet, netip.MustParseAddr(test.first)) })
			if got, _ := allocate(t, db, subnet); got.String() != test.first {
				t.Errorf("a freed address is not handed out again: %v", got)
			}
		})
	}
}
