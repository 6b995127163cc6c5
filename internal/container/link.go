package container

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/engine"
)

// Link gives another container a name in one's own hosts file.
type Link struct {
	Target string // ID
	Alias  string
}

// readLinks reads links in Docker's spelling, NAME[:ALIAS].
func (m *Manager) readLinks(specs []string, network engine.Network) ([]Link, error) {
	if len(specs) > 0 && network.Driver == engine.DriverHost {
		return nil, apierr.BadParameter("conflicting options: host type networking can't be used with links. This would result in undefined behavior")
	}
	var links []Link
	for _, spec := range specs {
		ref, alias, named := strings.Cut(spec, ":")
		if ref == "" || named && !validAlias.MatchString(alias) {
			return nil, apierr.BadParameter("bad format for links: %q is not NAME or NAME:ALIAS", spec)
		}
		target, err := m.Get(ref)
		if err != nil {
			return nil, apierr.NotFound("could not get container for %s: %v", ref, err)
		}
		if target.NetworkID != network.ID || network.Driver != engine.DriverBridge {
			return nil, apierr.BadParameter("Cannot link to /%s, as it does not belong to the network %s", target.Name, network.Name)
		}
		if !named {
			alias = target.Name
		}
		links = append(links, Link{Target: target.ID, Alias: alias})
	}
	return links, nil
}

// requireLinked refuses to start a container before those that it is linked to.
// In networks that the user made containers may come and go, as in Docker.
func (m *Manager) requireLinked(r Record) error {
	network, err := m.Engine.Network(r.NetworkID)
	if err != nil || !network.Predefined() {
		return nil //nolint:nilerr // whoever needs the network complains
	}
	for _, link := range r.Links {
		if target := m.record(link.Target); target != nil && target.State != Running {
			return apierr.Conflict("Cannot link to a non running container: /%s AS %s", target.Name, linkPath(r, link))
		}
	}
	return nil
}

func linkPath(r Record, link Link) string { return fmt.Sprintf("/%s/%s", r.Name, link.Alias) }

// linkPaths are the links of a container in the default network as inspect
// shows them: "/db00:/web00/db".
func (m *Manager) linkPaths(r Record, network engine.Network) []string {
	return m.describeLinks(r, network.Predefined(), func(target Record, link Link) string {
		return fmt.Sprintf("/%s:%s", target.Name, linkPath(r, link))
	})
}

// privateAliases are the links of a container in a network that the user made
// as inspect shows them there: "db00:db".
func (m *Manager) privateAliases(r Record, network engine.Network) []string {
	return m.describeLinks(r, !network.Predefined(), func(target Record, link Link) string {
		return target.Name + ":" + link.Alias
	})
}

// describeLinks leaves out the links to containers that were removed.
func (m *Manager) describeLinks(r Record, wanted bool, describe func(Record, Link) string) []string {
	var all []string
	for _, link := range r.Links {
		if target := m.record(link.Target); wanted && target != nil {
			all = append(all, describe(*target, link))
		}
	}
	return all
}

// hostsNames are the names of a linked container in a hosts file: the alias, its
// hostname, and its own name unless that is the alias.
func hostsNames(target Record, link Link) string {
	names := []string{link.Alias, target.Hostname()}
	if target.Name != link.Alias {
		names = append(names, target.Name)
	}
	return strings.Join(names, " ")
}

// linkedTo reports whether the container has a link into a sandbox.
func (m *Manager) linkedTo(r Record, sandbox string) bool {
	return slices.ContainsFunc(r.Links, func(link Link) bool {
		target := m.record(link.Target)
		return target != nil && target.Sandbox == sandbox
	})
}

// followAddress writes into the hosts files of sandboxes that are there what
// has become of a sandbox's address: in its own those that it is linked to, and
// its address in those that are linked to it.
func (m *Manager) followAddress(sandbox string) {
	for _, r := range m.List() {
		if r.Joined() || len(r.Links) == 0 || r.Sandbox != sandbox && !m.linkedTo(r, sandbox) {
			continue
		}
		if err := m.refreshHosts(r); err != nil {
			m.Log.Error("keep a hosts file up to date", "container", r.Name, "error", err)
		}
	}
}

// refreshHosts brings the linked containers' lines of a hosts file up to date.
// A container that has no address has no line: whoever has the address now is
// not who was meant.
func (m *Manager) refreshHosts(r Record) error {
	return m.editHosts(r, func(content []byte) []byte {
		for _, link := range r.Links {
			if target := m.record(link.Target); target != nil {
				content = setHostsLines(content, hostsNames(*target, link), m.EndpointOf(*target).Addresses()...)
			}
		}
		return content
	})
}

// unlink takes the lines of a container that was removed out of hosts files.
func (m *Manager) unlink(removed Record) error {
	var errs []error
	for _, r := range m.List() {
		for _, link := range r.Links {
			if link.Target != removed.ID {
				continue
			}
			errs = append(errs, m.editHosts(r, func(content []byte) []byte {
				return setHostsLines(content, hostsNames(removed, link))
			}))
		}
	}
	return errors.Join(errs...)
}

// editHosts changes the hosts file of a container's sandbox, if that is there.
func (m *Manager) editHosts(r Record, change func([]byte) []byte) error {
	m.hosts.Lock()
	defer m.hosts.Unlock()
	if !m.sandboxes.lives(r.Sandbox) {
		return nil
	}
	return editFile(filesOf(m.Dirs, r.Sandbox).hosts(), change)
}
