package loader

import "testing"

// TestHelperFlags asks for a flag that every kernel has, and for one that none
// has.
func TestHelperFlags(t *testing.T) {
	for flag, want := range map[int32]bool{1: true, 1 << 30: false} {
		if got, err := haveFIBFlag(flag); got != want || err != nil {
			t.Errorf("bpf_fib_lookup, flag %#x: %v, %v, want %v", flag, got, err, want)
		}
	}
	for flag, want := range map[int32]bool{0: true, 1 << 30: false} {
		if got, err := haveCsumFlag(flag); got != want || err != nil {
			t.Errorf("bpf_l4_csum_replace, flag %#x: %v, %v, want %v", flag, got, err, want)
		}
	}
}
