package names

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

const dnsPort = 53

// ParseServer reads ADDR or ADDR:PORT; an IPv6 address with a port is in
// brackets.
func ParseServer(s string) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(addr, dnsPort), nil
	}
	server, err := netip.ParseAddrPort(s)
	if err != nil || server.Port() == 0 {
		return server, fmt.Errorf("name server %q is neither ADDR nor ADDR:PORT", s)
	}
	return server, nil
}

// ParseServers reads several servers.
func ParseServers(list []string) ([]netip.AddrPort, error) {
	var servers []netip.AddrPort
	for _, s := range list {
		server, err := ParseServer(s)
		if err != nil {
			return nil, err
		}
		servers = append(servers, server)
	}
	return servers, nil
}

// HostServers are the name servers of a resolv.conf, read again when it changes.
type HostServers struct {
	path string

	mu      sync.Mutex
	size    int64
	changed time.Time
	servers []netip.AddrPort
}

// NewHostServers follows the file at path.
func NewHostServers(path string) *HostServers { return &HostServers{path: path} }

// Servers returns the servers that the file names now. A file that cannot be
// read leaves those of before: it may be on its way.
func (h *HostServers) Servers() []netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	info, err := os.Stat(h.path)
	if err != nil || info.Size() == h.size && info.ModTime().Equal(h.changed) {
		return h.servers
	}
	raw, err := os.ReadFile(h.path)
	if err != nil {
		return h.servers
	}
	h.size, h.changed = info.Size(), info.ModTime()
	h.servers = nil
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil {
			h.servers = append(h.servers, netip.AddrPortFrom(addr, dnsPort))
		}
	}
	return h.servers
}
