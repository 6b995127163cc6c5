package loader

import (
	"sync"
	"weak"

	"github.com/cilium/ebpf/btf"
)

// lastTypes is what kernelTypes returned last, if anybody still has it.
var lastTypes struct {
	sync.Mutex
	weak.Pointer[btf.Cache]
}

// kernelTypes returns the kernel's type information. To read it takes long and a
// few MB: so whoever needs it several times keeps it meanwhile, and not longer.
func kernelTypes() *btf.Cache {
	lastTypes.Lock()
	defer lastTypes.Unlock()
	if kept := lastTypes.Value(); kept != nil {
		return kept
	}
	types := btf.NewCache()
	lastTypes.Pointer = weak.Make(types)
	return types
}
