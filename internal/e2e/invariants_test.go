package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/container"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/lab"
)

// expectInvariants asserts that state, devices, maps, namespaces, pins, files
// and the API's listings agree and that nothing is orphaned. What a daemon has
// just begun it may end.
func expectInvariants(l *lab.Lab) {
	l.Helper()
	l.Host.Eventually("the invariants hold", func() error { return violations(l) })
}

// violations returns everything that does not agree.
func violations(l *lab.Lab) error {
	in, err := readIntent(l)
	if err != nil {
		return err
	}
	c := &checker{Lab: l, intent: in}
	c.records()
	c.files()
	c.processes()
	c.listings()
	if err := l.Host.Do(func() error { c.devices(); return nil }); err != nil {
		return err
	}
	c.attachments()
	c.mapEntries()
	return errors.Join(c.errs...)
}

// checker compares an instance with its intent.
type checker struct {
	*lab.Lab
	intent
	errs []error
}

func (c *checker) complain(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

// must notes an error of reading.
func (c *checker) must(err error) bool {
	if err != nil {
		c.errs = append(c.errs, err)
	}
	return err == nil
}

// same compares two sets.
func same[K comparable, V comparable](c *checker, what string, got, want map[K]V) {
	for k, v := range want {
		if found, ok := got[k]; !ok {
			c.complain("%s: %v is missing", what, k)
		} else if found != v {
			c.complain("%s: %v is %v, and should be %v", what, k, found, v)
		}
	}
	for k, v := range got {
		if _, ok := want[k]; !ok {
			c.complain("%s: %v (%v) is left over", what, k, v)
		}
	}
}

// records checks that the store's records fit each other.
func (c *checker) records() {
	taken := map[string]string{}
	take := func(what string, index uint32, who string) {
		key := fmt.Sprintf("%s %d", what, index)
		if other := taken[key]; other != "" || index == 0 {
			c.complain("%s belongs to %s and %s", key, who, other)
		}
		taken[key] = who
	}
	addresses := 0
	for id, n := range c.networks {
		if n.value.Driver != engine.DriverBridge {
			continue
		}
		addresses += 3
		if n.value.HasIPv6() {
			addresses += 2
		}
		if !n.ready {
			c.complain("network %s is half made", n.value.Name)
		}
		take("network", uint32(n.value.Index), id)
		if n.value.Rule != 0 {
			take("rule", n.value.Rule, id)
		}
	}
	for id, ep := range c.endpoints {
		addresses += len(ep.value.Addresses())
		if !ep.ready {
			c.complain("the endpoint of %s is half made", ep.value.Owner)
		}
		if _, ok := c.networks[ep.value.NetworkID]; !ok {
			c.complain("the endpoint of %s is in no network", ep.value.Owner)
		}
		take("endpoint", ep.value.Index, id)
		for _, p := range ep.value.Ports {
			take("rule", p.Rule, id)
		}
	}
	for key, a := range c.aliases {
		addresses += len(a.Addresses())
		take("alias", a.Index, key)
		take("rule", a.Rule, key)
	}
	if c.addresses != addresses {
		c.complain("%d addresses are taken, and %d have an owner", c.addresses, addresses)
	}
	c.owners()
}

// owners checks that running containers and endpoints belong together.
func (c *checker) owners() {
	for _, r := range c.containers {
		if r.State == container.Running {
			continue
		}
		if r.Pid != 0 {
			c.complain("%s is %s and has the PID %d", r.Name, r.State, r.Pid)
		}
		if r.State == container.Exited && r.Config.HostConfig.AutoRemove {
			c.complain("%s was to be removed with its end", r.Name)
		}
	}
	_, sandboxes := c.running()
	attached := map[string]bool{}
	for _, ep := range c.endpoints {
		attached[filepath.Base(ep.value.Sandbox)] = true
	}
	bridged := map[string]bool{}
	for id, driver := range sandboxes {
		if driver == engine.DriverBridge {
			bridged[id] = true
		}
	}
	same(c, "sandboxes with an endpoint", attached, bridged)
}

// running returns the IDs of the containers that run, and the drivers of the
// networks of the sandboxes that they are in.
func (c *checker) running() (containers map[string]bool, sandboxes map[string]string) {
	containers, sandboxes = map[string]bool{}, map[string]string{}
	for id, r := range c.containers {
		if r.State != container.Running {
			continue
		}
		containers[id] = true
		if driver := c.networks[r.NetworkID].value.Driver; driver != engine.DriverHost {
			sandboxes[r.Sandbox] = driver
		}
	}
	return containers, sandboxes
}

// files checks the directories of containers, shims and namespaces.
func (c *checker) files() {
	all, sandboxes := c.running()
	dirs, namespaces := map[string]bool{}, map[string]bool{}
	for id := range c.containers {
		dirs[id] = true
	}
	for id := range sandboxes {
		dirs[id], namespaces[id] = true, true
		var fs unix.Statfs_t
		path := filepath.Join(c.Root, "run", "netns", id)
		if err := unix.Statfs(path, &fs); err != nil || fs.Type != unix.NSFS_MAGIC {
			c.complain("%s is not a namespace: %v", path, err)
		}
	}
	same(c, "directories of containers", c.entries("state", "containers"), dirs)
	same(c, "namespaces", c.entries("run", "netns"), namespaces)
	shims := c.entries("run", "shims")
	for name := range shims {
		if id, _, further := strings.Cut(name, "-"); further && all[id] {
			delete(shims, name)
		}
	}
	same(c, "directories of shims", shims, all)
}

func (c *checker) entries(elem ...string) map[string]bool {
	names := map[string]bool{}
	found, err := os.ReadDir(filepath.Join(append([]string{c.Root}, elem...)...))
	c.must(err)
	for _, entry := range found {
		names[entry.Name()] = true
	}
	return names
}

// processes checks that each running container has one shim, and nobody else.
func (c *checker) processes() {
	all, _ := c.running()
	raw, err := os.ReadFile(filepath.Join(c.Cgroup, "cgroup.procs"))
	if !c.must(err) {
		return
	}
	shims := map[string]bool{}
	for _, pid := range strings.Fields(string(raw)) {
		cmdline, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		args := strings.Split(string(cmdline), "\x00")
		if err != nil || len(args) < 2 || filepath.Base(args[0]) != "sluice-shim" || args[1] == "init" {
			continue
		}
		if name := filepath.Base(args[1]); !strings.Contains(name, "-") || !all[strings.SplitN(name, "-", 2)[0]] {
			shims[name] = true
		}
	}
	same(c, "shims", shims, all)
}

// listings checks that the API says what the store has.
func (c *checker) listings() {
	states, want := map[string]string{}, map[string]string{}
	for line := range strings.Lines(c.OK("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}}")) {
		id, state, _ := strings.Cut(strings.TrimSpace(line), " ")
		states[id] = state
	}
	for id, r := range c.containers {
		want[id] = string(r.State)
	}
	same(c, "containers", states, want)
	networks, wantNetworks := map[string]bool{}, map[string]bool{}
	for _, id := range strings.Fields(c.OK("network", "ls", "-q", "--no-trunc")) {
		networks[id] = true
	}
	for id := range c.networks {
		wantNetworks[id] = true
	}
	same(c, "networks", networks, wantNetworks)
}
