package loader

import "testing"

// TestFIBFlags asks for a flag that every kernel has, and for one that none has.
func TestFIBFlags(t *testing.T) {
	for flag, want := range map[int32]bool{1: true, 1 << 30: false} {
		if got, err := haveFIBFlag(flag); got != want || err != nil {
			t.Errorf("flag %#x: %v, %v, want %v", flag, got, err, want)
		}
	}
}
