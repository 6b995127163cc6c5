package loader

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/ebpf"
)

// TestCarryingIsSaidAgain covers an upgrade with so many flows that they take longer
// than programs wait for a loader that was killed.
func TestCarryingIsSaidAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer until.Close()
		l := &Loader{maps: map[string]*ebpf.Map{"carrying_until": until}}
		failed := errors.New("failed")
		got := l.whileCarrying(nil, func() error {
			for range 3 {
				var said uint64
				if err := until.Lookup(uint32(0), &said); err != nil || said == 0 {
					t.Errorf("programs are told to wait until %d (%v)", said, err)
				}
				if err := until.Put(uint32(0), uint64(0)); err != nil {
					t.Error(err)
				}
				time.Sleep(carryingAtMost)
			}
			return failed
		})
		if !errors.Is(got, failed) {
			t.Errorf("it returned %v", got)
		}
	})
}
