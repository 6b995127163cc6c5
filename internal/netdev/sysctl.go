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
		current, err := readSysctl(device, s)
		if errors.Is(err, ErrNoIPv6) || err == nil && current == s.value {
			continue
		}
		if err := s.write(device); err != nil {
			return err
		}
	}
	return nil
}

func (s sysctl) path(device string) string {
	return filepath.Join("/proc/sys/net", s.family, "conf", device, s.name)
}

func (s sysctl) write(device string) error {
	if err := os.WriteFile(s.path(device), []byte(s.value), 0); err != nil {
		return fmt.Errorf("set net.%s.conf.%s.%s: %w", s.family, device, s.name, err)
	}
	return nil
}

// readSysctl returns the value that a device's setting has, or ErrNoIPv6.
func readSysctl(device string, s sysctl) (string, error) {
	value, err := os.ReadFile(s.path(device))
	if errors.Is(err, fs.ErrNotExist) && s.family == "ipv6" {
		if _, err := os.Stat("/proc/sys/net/ipv6/conf"); errors.Is(err, fs.ErrNotExist) {
			return "", ErrNoIPv6
		}
	}
	return string(bytes.TrimSpace(value)), err
}
