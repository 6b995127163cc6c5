package bench

import (
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// ThisMachine describes where the calling process runs; sluice is the version
// that is measured.
func ThisMachine(sluice string) Machine {
	m := Machine{CPUs: runtime.NumCPU(), CPU: runtime.GOARCH, Sluice: sluice}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		field, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(field) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	return m
}
