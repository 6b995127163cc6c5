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

// TestKernelFunctions asks for a function that every kernel has, and for one
// that none has.
func TestKernelFunctions(t *testing.T) {
	for name, want := range map[string]bool{"tcp_v4_rcv": true, "sluice_has_no_such": false} {
		if got, err := haveKernelFunction(name); got != want || err != nil {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
}
