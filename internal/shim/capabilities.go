package shim

import (
	"fmt"
	"strings"
)

// capabilityNames are the kernel's capabilities by number, without CAP_
// (include/uapi/linux/capability.h).
var capabilityNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
	"SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// defaultCapabilities are those that Docker leaves to a container.
var defaultCapabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID",
	"SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
}

const allCapabilities = uint64(1)<<len(capabilityNames) - 1

// Capabilities returns the mask of the capabilities that a container keeps:
// Docker's default set and add, without drop; all of them when privileged.
// Names have any case, with CAP_ or without; ALL stands for every one.
func Capabilities(add, drop []string, privileged bool) (uint64, error) {
	added, err := capabilityMask(add)
	if err != nil {
		return 0, err
	}
	dropped, err := capabilityMask(drop)
	if err != nil {
		return 0, err
	}
	if privileged {
		return allCapabilities, nil
	}
	mask, err := capabilityMask(defaultCapabilities)
	if err != nil {
		return 0, err
	}
	// As Docker: what is added by name survives a drop of ALL, and the other
	// way round.
	if dropped == allCapabilities {
		return added, nil
	}
	return (mask | added) &^ dropped, nil
}

func capabilityMask(names []string) (uint64, error) {
	var mask uint64
	for _, name := range names {
		bit, err := capabilityBit(name)
		if err != nil {
			return 0, err
		}
		mask |= bit
	}
	return mask, nil
}

func capabilityBit(name string) (uint64, error) {
	plain := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	if plain == "ALL" {
		return allCapabilities, nil
	}
	for number, known := range capabilityNames {
		if plain == known {
			return 1 << number, nil
		}
	}
	return 0, fmt.Errorf("invalid capability: %q is unknown (see capabilities(7))", name)
}
