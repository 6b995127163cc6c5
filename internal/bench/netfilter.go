package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/netdev"
)

// bridgeName and portName are of the i-th bridge that we make ourselves, and
// of its only port.
func bridgeName(i int) string { return fmt.Sprintf("br%d", i) }
func portName(i int) string   { return fmt.Sprintf("veth%d", i) }

// bridges is how many there are: each container has one of its own.
func (p *plan) bridges() int {
	if p.member {
		return 2
	}
	return 1
}

// buildRouted makes a host that routes between its client and its containers,
// each on a bridge of its own, and translates nothing.
func buildRouted(e *Env, name string, p plan) (*site, error) {
	w, err := newWorld(e, name)
	if err != nil {
		return nil, err
	}
	s := &site{world: w, direct: true}
	if s.container, err = newSandbox(e, w, name, 0); err != nil {
		return nil, err
	}
	if p.member {
		if s.member, err = newSandbox(e, w, name, 1); err != nil {
			return nil, err
		}
	}
	for _, f := range families() {
		if p.member {
			s.vips = append(s.vips, f.vip)
		}
		if err := addRoute(w.client, f.gateways[0], f.host.Addr()); err != nil {
			return nil, err
		}
	}
	err = writeSysctl(w.host, "net/ipv4/ip_forward", "1")
	if len(families()) > 1 {
		err = errors.Join(err, writeSysctl(w.host, "net/ipv6/conf/all/forwarding", "1"))
	}
	return s, err
}

// buildNetfilter is buildRouted with a set of rules of each family, which a
// program reads from its standard input.
func buildNetfilter(e *Env, name string, p plan, rules func(*family, plan) string, program func(*family) []string) (*site, error) {
	s, err := buildRouted(e, name, p)
	if err != nil {
		return nil, err
	}
	s.direct = false
	for _, f := range p.families() {
		args := program(f)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdin = strings.NewReader(rules(f, p))
		if _, err := output(s.host, cmd); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func buildIptables(e *Env, name string, p plan) (*site, error) {
	return buildNetfilter(e, name, p, legacyRules, func(f *family) []string {
		if f == &ipv6 {
			return []string{"ip6tables-legacy-restore"}
		}
		return []string{"iptables-legacy-restore"}
	})
}

func buildNftables(e *Env, name string, p plan) (*site, error) {
	return buildNetfilter(e, name, p, nftRules, func(*family) []string { return []string{"nft", "-f", "-"} })
}

func buildNftMap(e *Env, name string, p plan) (*site, error) {
	return buildNetfilter(e, name, p, nftMapRules, func(*family) []string { return []string{"nft", "-f", "-"} })
}

// newSandbox makes a container's namespace and its veth to the host's i-th
// bridge, as Docker does.
func newSandbox(e *Env, w *world, name string, i int) (s sandbox, err error) {
	s.port = portName(i)
	if s.namespace, err = newNamespace(e, fmt.Sprintf("%s-container%d", name, i)); err != nil {
		return s, err
	}
	bridgeMAC := net.HardwareAddr{2, 0, 0, 0, 1, byte(4 * i)}
	portMAC := net.HardwareAddr{2, 0, 0, 0, 1, byte(4*i + 1)}
	containerMAC := net.HardwareAddr{2, 0, 0, 0, 1, byte(4*i + 2)}
	err = netdev.InNamespace(w.host, func() error {
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName(i), HardwareAddr: bridgeMAC}})
	})
	if err != nil {
		return s, fmt.Errorf("make a bridge: %w", err)
	}
	if err := connect(w.host, s.port, portMAC, s.namespace, device, containerMAC); err != nil {
		return s, err
	}
	if err := enslave(w.host, bridgeName(i), s.port); err != nil {
		return s, err
	}
	for _, f := range families() {
		gateway, own := f.gateways[i], f.container(i)
		err := errors.Join(
			configure(w.host, bridgeName(i), gateway, own.Addr(), containerMAC),
			configure(s.namespace, device, own, gateway.Addr(), bridgeMAC),
			addRoute(s.namespace, defaultRoute(f), gateway.Addr()))
		if err != nil {
			return s, err
		}
		s.addrs = append(s.addrs, own.Addr())
	}
	return s, nil
}

func enslave(host, bridge, port string) error {
	return netdev.InNamespace(host, func() error {
		master, err := netlink.LinkByName(bridge)
		if err != nil {
			return err
		}
		slave, err := netlink.LinkByName(port)
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetMaster(slave, master), netlink.LinkSetUp(slave))
	})
}

func defaultRoute(f *family) netip.Prefix {
	if f == &ipv4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}
