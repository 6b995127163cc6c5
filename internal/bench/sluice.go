package bench

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/sluice-net/sluice/internal/api"
)

// buildSluice has a binary of sluice make the site: a network of every family,
// a container, and a member of an alias.
func buildSluice(binary string) builder {
	return func(e *Env, name string, p plan) (*site, error) {
		w, err := newWorld(e, name)
		if err != nil {
			return nil, err
		}
		i, err := startSluice(e, w, binary, p.daemonFlags()...)
		if err != nil {
			return nil, err
		}
		s := &site{world: w, instance: i}
		network := []string{"network", "create"}
		for _, f := range p.families() {
			network = append(network, "--subnet="+f.subnet.String())
			if f == &ipv6 {
				network = append(network, "--ipv6")
			}
		}
		if err := i.run(append(network, "bench")...); err != nil {
			return nil, err
		}
		if s.container, err = i.runSandbox("container", p.publishFlags()...); err != nil || !p.member {
			return s, err
		}
		if s.member, err = i.runSandbox("member", "--network-alias=vip"); err != nil {
			return nil, err
		}
		s.vips, err = i.vips()
		return s, err
	}
}

func (p *plan) daemonFlags() []string {
	if p.flows == 0 {
		return nil
	}
	// Room for flows that are counted twice while they move.
	return []string{fmt.Sprintf("--conntrack-max=%d", 2*p.flows), fmt.Sprintf("--conntrack-new-max=%d", 2*p.flows)}
}

func (p *plan) publishFlags() (flags []string) {
	for _, port := range p.ports {
		flags = append(flags, fmt.Sprintf("-p=%d:%d/%s", port.host, port.container, port.protocol))
	}
	return flags
}

// runSandbox runs a container that waits.
func (i *instance) runSandbox(name string, flags ...string) (sandbox, error) {
	if err := i.run(append([]string{"run", "-d", "--name=" + name, "--network=bench"}, flags...)...); err != nil {
		return sandbox{}, err
	}
	pid, err := i.output("inspect", "--format", "{{.State.Pid}}", name)
	if err != nil {
		return sandbox{}, err
	}
	namespace := "/proc/" + pid + "/ns/net"
	if err := setCongestionControl(namespace); err != nil {
		return sandbox{}, err
	}
	return sandboxAt(namespace)
}

// vips returns the addresses of the only alias.
func (i *instance) vips() (addrs []netip.Addr, err error) {
	rules, err := i.output("nat", "--format", "json")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(rules) {
		var rule api.NATRule
		if err := json.Unmarshal([]byte(line), &rule); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		if rule.Kind != "alias" {
			continue
		}
		for _, text := range strings.Split(rule.Destination, ",") {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, err
			}
			addrs = append(addrs, prefix.Addr())
		}
	}
	return addrs, nil
}
