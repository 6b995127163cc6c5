package loader

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// mapInfo is the beginning of the kernel's struct bpf_map_info.
type mapInfo struct {
	_          [64]byte
	btf        uint32
	key, value uint32 // types of that BTF
	_          [4]byte
}

// typesOf returns the types of a map's keys and values as it was made with; nil
// where they are not known.
func typesOf(m *ebpf.Map) (key, value btf.Type, err error) {
	var info mapInfo
	attr := struct {
		fd, length uint32
		info       unsafe.Pointer
	}{uint32(m.FD()), uint32(unsafe.Sizeof(info)), unsafe.Pointer(&info)}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_OBJ_GET_INFO_BY_FD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(m)
	if errno != 0 {
		return nil, nil, fmt.Errorf("ask for the map's types: %w", errno)
	}
	if info.btf == 0 {
		return nil, nil, nil
	}
	handle, err := btf.NewHandleFromID(btf.ID(info.btf))
	if err != nil {
		return nil, nil, err
	}
	defer handle.Close()
	spec, err := handle.Spec(nil)
	if err != nil {
		return nil, nil, err
	}
	if key, err = spec.TypeByID(btf.TypeID(info.key)); err == nil {
		value, err = spec.TypeByID(btf.TypeID(info.value))
	}
	return key, value, err
}
