package netdev

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// sysctl is a setting of one device.
type sysctl struct {
	family string // "ipv4" or "ipv6"
	name   string
	value  string
}

var (
	// The stack never routes for a container: the datapath does.
	noForwarding = sysctl{"ipv4", "forwarding", "0"}
	forwarding   = sysctl{"ipv4", "forwarding", "1"}
	// Sockets of the host that are bound to 127.0.0.1 reach containers.
	routeLocalnet = sysctl{"ipv4", "route_localnet", "1"}
	// No link-local address, router solicitation or neighbour discovery.
	noIPv6 = sysctl{"ipv6", "disable_ipv6", "1"}
)

// setSysctls applies settings to a device of the calling thread's network
// namespace. What has its value already is not written, because a write is an
// event for everyone who watches. A kernel without IPv6 needs no IPv6 setting.
func setSysctls(device string, settings ...sysctl) error {
	for _, s := range settings {
		path := filepath.Join("/proc/sys/net", s.family, "conf", device, s.name)
		current, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && s.family == "ipv6" {
			continue
		}
		if err == nil && string(bytes.TrimSpace(current)) == s.value {
			continue
		}
		if err := os.WriteFile(path, []byte(s.value), 0); err != nil {
			return fmt.Errorf("set net.%s.conf.%s.%s: %w", s.family, device, s.name, err)
		}
	}
	return nil
}
