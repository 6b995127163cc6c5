package bench

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/netdev"
)

// publishedPort is a port of the host that leads to one of the container.
type publishedPort struct {
	protocol        string // "tcp" or "udp"
	host, container uint16
}

// plan is what a site has to have.
type plan struct {
	ports  []publishedPort
	member bool // a second container, behind a virtual address
	flows  int  // that conntrack has to hold beside the usual
	ipv6   bool // beside IPv4, where the kernel has it
}

func (p *plan) families() []*family {
	if p.ipv6 {
		return families()
	}
	return []*family{&ipv4}
}

// site is a world whose host has a container, and what leads there.
type site struct {
	*world
	container sandbox
	member    sandbox      // if the plan has one
	vips      []netip.Addr // of the member, by family
	direct    bool         // nothing is published: the container's own address and port are
	instance  *instance    // nil unless it is sluice's
}

// sandbox is a container as a network namespace.
type sandbox struct {
	namespace string
	port      string // the host's end of its veth; "" if sluice made it
	addrs     []netip.Addr
}

// builder makes a site.
type builder func(e *Env, name string, p plan) (*site, error)

// candidate is an arm's name and how its sites are made.
type candidate struct {
	name  string
	build builder
}

// candidates are all arms that translate: the peers, and sluice.
func candidates(e *Env) []candidate {
	all := []candidate{{armIptables, buildIptables}, {armNftables, buildNftables}}
	for name, binary := range e.binaries() {
		all = append(all, candidate{name, buildSluice(binary)})
	}
	return all
}

// reach is where the client finds what is published.
func (s *site) reach(f *family, p publishedPort) netip.AddrPort {
	if s.direct {
		return netip.AddrPortFrom(f.of(s.container.addrs), p.container)
	}
	return netip.AddrPortFrom(f.host.Addr(), p.host)
}

// sandboxAt describes the container whose namespace is at path.
func sandboxAt(path string) (s sandbox, err error) {
	s.namespace = path
	err = netdev.InNamespace(path, func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		for _, addr := range addrs {
			if ip, ok := netip.AddrFromSlice(addr.IP); ok {
				s.addrs = append(s.addrs, ip.Unmap())
			}
		}
		return err
	})
	return s, err
}

// addOutside gives the client the first address behind it.
func (s *site) addOutside() error {
	return netdev.InNamespace(s.client, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		for _, f := range families() {
			addr := netip.PrefixFrom(outsideAddr(f, 0), f.bits)
			if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(addr), Flags: unix.IFA_F_NODAD}); err != nil {
				return fmt.Errorf("give lo %s: %w", addr, err)
			}
		}
		return nil
	})
}
