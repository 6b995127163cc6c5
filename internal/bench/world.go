package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/netdev"
)

// device is both ends of the wire, and the container's.
const device = "eth0"

// world is a client and a host, each a network namespace, and the wire between
// them. Every arm has a world of its own: the hooks of iptables-legacy stay in
// a namespace once they were there.
type world struct {
	host, client string // paths of the namespaces
	hostMAC      net.HardwareAddr
	clientMAC    net.HardwareAddr
}

func newWorld(e *Env, name string) (*world, error) {
	w := &world{
		hostMAC:   net.HardwareAddr{2, 0, 0, 0, 0, 1},
		clientMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2},
	}
	var err error
	if w.host, err = newNamespace(e, name+"-host"); err != nil {
		return nil, err
	}
	if w.client, err = newNamespace(e, name+"-client"); err != nil {
		return nil, err
	}
	if err := connect(w.host, device, w.hostMAC, w.client, device, w.clientMAC); err != nil {
		return nil, err
	}
	for _, f := range families() {
		// Permanent neighbours, so that no arm waits for ARP.
		err := errors.Join(
			configure(w.host, device, f.host, f.client.Addr(), w.clientMAC),
			configure(w.client, device, f.client, f.host.Addr(), w.hostMAC),
			addRoute(w.host, f.outside, f.client.Addr()))
		if err != nil {
			return nil, err
		}
	}
	return w, nil
}

func newNamespace(e *Env, name string) (string, error) {
	path := filepath.Join(e.dir, name)
	if err := netdev.NewNamespace(path); err != nil {
		return "", err
	}
	e.cleanup(func() error { return netdev.DeleteNamespace(path) })
	return path, setCongestionControl(path)
}

// setCongestionControl takes the one that every namespace may have. The machine's
// may pace, as BBR does, and a CPU wait that is to be busy.
func setCongestionControl(path string) error {
	return writeSysctl(path, "net/ipv4/tcp_congestion_control", "reno")
}

// connect makes a veth pair between two namespaces.
func connect(a, aName string, aMAC net.HardwareAddr, b, bName string, bMAC net.HardwareAddr) error {
	return netdev.InNamespace(a, func() error {
		peer, err := os.Open(b)
		if err != nil {
			return err
		}
		defer peer.Close()
		err = netlink.LinkAdd(&netlink.Veth{
			LinkAttrs:        netlink.LinkAttrs{Name: aName, HardwareAddr: aMAC},
			PeerName:         bName,
			PeerHardwareAddr: bMAC,
			PeerNamespace:    netlink.NsFd(peer.Fd()),
		})
		if err != nil {
			return fmt.Errorf("make the veth %s: %w", aName, err)
		}
		return nil
	})
}

// configure sets a device up and gives it an address and a permanent
// neighbour.
func configure(path, device string, addr netip.Prefix, neighbour netip.Addr, mac net.HardwareAddr) error {
	err := netdev.InNamespace(path, func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(addr), Flags: unix.IFA_F_NODAD}); err != nil {
			return err
		}
		return netlink.NeighSet(&netlink.Neigh{
			LinkIndex: link.Attrs().Index, IP: neighbour.AsSlice(), HardwareAddr: mac, State: unix.NUD_PERMANENT,
		})
	})
	if err != nil {
		return fmt.Errorf("configure %s in %s: %w", device, filepath.Base(path), err)
	}
	return nil
}

// addRoute adds a route through a gateway.
func addRoute(path string, to netip.Prefix, gateway netip.Addr) error {
	return netdev.InNamespace(path, func() error {
		if err := netlink.RouteAdd(&netlink.Route{Dst: ipNet(to.Masked()), Gw: gateway.AsSlice()}); err != nil {
			return fmt.Errorf("add a route to %s by %s: %w", to, gateway, err)
		}
		return nil
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// writeSysctl writes one of a namespace's; name has slashes.
func writeSysctl(path, name, value string) error {
	return netdev.InNamespace(path, func() error {
		return os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0)
	})
}

// output runs a command in a namespace and returns what it printed.
func output(path string, cmd *exec.Cmd) (string, error) {
	var printed []byte
	err := netdev.InNamespace(path, func() (err error) {
		printed, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd.Args[0], err, printed)
	}
	return string(printed), nil
}
