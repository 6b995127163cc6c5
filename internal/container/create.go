package container

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/portspec"
	"github.com/sluice-net/sluice/internal/shim"
)

var validAlias = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,63}(\.[a-zA-Z0-9_-]{1,63})*$`)

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// Create validates a container and records it. Nothing runs yet.
func (m *Manager) Create(config api.CreateContainer) (Record, error) {
	if config.HostConfig.Rootfs == "/" {
		config.HostConfig.Rootfs = "" // the host's files
	}
	r := Record{ID: newID(), Name: strings.TrimPrefix(config.Name, "/"), Created: time.Now(), Config: config, State: Created}
	r.Sandbox = r.ID
	if r.Name != "" && !validName.MatchString(r.Name) {
		return r, apierr.BadParameter("Invalid container name (%s), only %s are allowed", r.Name, "[a-zA-Z0-9][a-zA-Z0-9_.-]")
	}
	if err := validateProcess(config); err != nil {
		return r, err
	}
	if target, ok := strings.CutPrefix(config.HostConfig.NetworkMode, joinPrefix); ok {
		if err := m.intendJoin(&r, target); err != nil {
			return r, err
		}
		return r, m.add(&r)
	}
	network, err := m.Engine.Network(networkRef(config))
	if err != nil {
		return r, err
	}
	r.NetworkID = network.ID
	if err := r.readNetworking(network); err != nil {
		return r, err
	}
	if r.Links, err = m.readLinks(config.HostConfig.Links, network); err != nil {
		return r, err
	}
	return r, m.add(&r)
}

func networkRef(config api.CreateContainer) string {
	switch config.HostConfig.NetworkMode {
	case "", "default":
		return engine.NetworkBridge
	}
	return config.HostConfig.NetworkMode
}

func validateProcess(config api.CreateContainer) error {
	h := config.HostConfig
	if _, err := shim.Capabilities(h.CapAdd, h.CapDrop, h.Privileged); err != nil {
		return apierr.BadParameter("%v", err)
	}
	if len(config.Hostname) > 63 || strings.ContainsAny(config.Hostname, " \t\n/") {
		return apierr.BadParameter("invalid hostname %q", config.Hostname)
	}
	if config.WorkingDir != "" && !strings.HasPrefix(config.WorkingDir, "/") {
		return apierr.BadParameter("the working directory %q is invalid, it needs to be an absolute path", config.WorkingDir)
	}
	for _, entry := range h.ExtraHosts {
		name, addr, ok := strings.Cut(entry, ":")
		if _, err := netip.ParseAddr(addr); !ok || !validAlias.MatchString(name) || err != nil {
			return apierr.BadParameter("bad format for add-host: %q is not NAME:IP", entry)
		}
	}
	for _, server := range h.DNS {
		if _, err := netip.ParseAddr(server); err != nil {
			return apierr.BadParameter("--dns %q is not an IP address", server)
		}
	}
	if h.Rootfs == "" {
		return nil
	}
	info, err := os.Stat(h.Rootfs)
	if err != nil || !info.IsDir() || !strings.HasPrefix(h.Rootfs, "/") {
		return apierr.BadParameter("--rootfs %s is not the absolute path of a directory", h.Rootfs)
	}
	return nil
}

// readNetworking reads the address and the ports, which only a bridge has.
func (r *Record) readNetworking(network engine.Network) error {
	for _, spec := range r.Config.HostConfig.Publish {
		parsed, err := portspec.Parse(spec)
		if err != nil {
			return err
		}
		r.Ports = append(r.Ports, engine.PortFromSpec(parsed))
	}
	if err := engine.CheckApart(r.Ports); err != nil {
		return err
	}
	if r.Config.IPAddress != "" {
		addr, err := netip.ParseAddr(r.Config.IPAddress)
		if err != nil || !addr.Is4() {
			return apierr.BadParameter("--ip %q is not an IPv4 address", r.Config.IPAddress)
		}
		r.Requested = addr
	}
	if err := r.readAddress6(network); err != nil {
		return err
	}
	if err := validateAliases(r.Config.Aliases, network); err != nil {
		return err
	}
	if network.Driver == engine.DriverBridge {
		return nil
	}
	if r.Requested.IsValid() {
		return apierr.BadParameter("network %s gives no addresses: --ip needs a bridge network", network.Name)
	}
	r.Ports = nil // as Docker: without a bridge there is nothing to publish
	return nil
}

func (r *Record) readAddress6(network engine.Network) error {
	if r.Config.IPv6Address == "" {
		return nil
	}
	addr, err := netip.ParseAddr(r.Config.IPv6Address)
	if err != nil || !addr.Is6() || addr.Is4In6() || addr.Zone() != "" {
		return apierr.BadParameter("--ip6 %q is not an IPv6 address", r.Config.IPv6Address)
	}
	if !network.HasIPv6() {
		return apierr.BadParameter("network %s has no IPv6: --ip6 needs a network that was made with `network create --ipv6`", network.Name)
	}
	r.Requested6 = addr
	return nil
}

// validateAliases refuses what no resolver would ask for.
func validateAliases(aliases []string, network engine.Network) error {
	if len(aliases) > 0 && network.Predefined() {
		return apierr.BadParameter("network-scoped alias is supported only for containers in user defined networks, and %s is there from the start", network.Name)
	}
	for _, alias := range aliases {
		if len(alias) > 253 || !validAlias.MatchString(alias) {
			return apierr.BadParameter("invalid network alias %q: letters, digits, \"-\", \"_\" and single dots between them make one", alias)
		}
	}
	return nil
}

// add stores a new record under a name that nobody has.
func (m *Manager) add(r *Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := map[string]string{}
	for id, c := range m.containers {
		taken[c.record.Name] = id
	}
	if r.Name == "" {
		r.Name = randomName(func(name string) bool { return taken[name] != "" })
	}
	if id := taken[r.Name]; id != "" {
		return apierr.Conflict("Conflict. The container name \"/%s\" is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", r.Name, id)
	}
	if err := os.MkdirAll(m.Dirs.Container(r.ID), 0o700); err != nil {
		return err
	}
	if err := m.Store.Put(bucket, r.ID, *r); err != nil {
		_ = os.RemoveAll(m.Dirs.Container(r.ID))
		return fmt.Errorf("store container %s: %w", r.Name, err)
	}
	m.containers[r.ID] = &container{record: *r}
	return nil
}

// newID returns 64 random hex digits.
func newID() string {
	var id [32]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return hex.EncodeToString(id[:])
}
