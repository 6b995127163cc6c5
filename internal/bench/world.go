package bench

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/netdev"
)

// The wire between the client and the host, and the port that is published.
const (
	hostAddr      = "192.0.2.1"
	clientAddr    = "192.0.2.2"
	clientPort    = 40000
	publishedPort = 5353
	targetPort    = 53
	device        = "eth0" // both ends of the wire, and the container's
)

// world is a client and a host, each a network namespace, and the wire between
// them. Every arm has a world of its own: the hooks of iptables-legacy stay in
// a namespace once they were there.
type world struct {
	host, client string // paths of the namespaces
	hostMAC      net.HardwareAddr
	clientMAC    net.HardwareAddr
}

// How long a datagram may take, and how often the first one is sent.
const (
	receiveTimeout = 200 * time.Millisecond
	establishTries = 50
)

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
	// Permanent neighbours, so that no arm waits for ARP.
	return w, errors.Join(
		configure(w.host, device, hostAddr+"/24", clientAddr, w.clientMAC),
		configure(w.client, device, clientAddr+"/24", hostAddr, w.hostMAC))
}

func newNamespace(e *Env, name string) (string, error) {
	path := filepath.Join(e.dir, name)
	if err := netdev.NewNamespace(path); err != nil {
		return "", err
	}
	e.cleanup(func() error { return netdev.DeleteNamespace(path) })
	return path, nil
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
func configure(path, device, cidr, neighbour string, mac net.HardwareAddr) error {
	err := netdev.InNamespace(path, func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		return netlink.NeighSet(&netlink.Neigh{
			LinkIndex: link.Attrs().Index, IP: net.ParseIP(neighbour), HardwareAddr: mac, State: unix.NUD_PERMANENT,
		})
	})
	if err != nil {
		return fmt.Errorf("configure %s in %s: %w", device, filepath.Base(path), err)
	}
	return nil
}

// output runs a command in a namespace and returns what it printed.
func output(path string, cmd *exec.Cmd) (string, error) {
	var printed []byte
	err := netdev.InNamespace(path, func() (err error) {
		printed, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, printed)
	}
	return string(printed), nil
}

// establish makes the client and a server at addr in the container exchange
// datagrams through the published port: two each way, after which every
// conntrack holds the flow as established. A bridge forwards nothing before the
// kernel has noticed that its port has a carrier, so the first is repeated.
func (w *world) establish(container string) error {
	server, err := listenUDP(container, &net.UDPAddr{Port: targetPort})
	if err != nil {
		return err
	}
	defer server.Close()
	client, err := listenUDP(w.client, &net.UDPAddr{IP: net.ParseIP(clientAddr), Port: clientPort})
	if err != nil {
		return err
	}
	defer client.Close()
	for range establishTries {
		if err = exchange(client, server); err == nil {
			return exchange(client, server)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	return err
}

// exchange sends one datagram each way.
func exchange(client, server net.PacketConn) error {
	if _, err := client.WriteTo([]byte("request"), &net.UDPAddr{IP: net.ParseIP(hostAddr), Port: publishedPort}); err != nil {
		return err
	}
	if err := answer(server); err != nil {
		return fmt.Errorf("the container's server: %w", err)
	}
	from, err := receive(client)
	if err != nil {
		return fmt.Errorf("the client: %w", err)
	}
	if want := fmt.Sprintf("%s:%d", hostAddr, publishedPort); from.String() != want {
		return fmt.Errorf("the client got its answer from %s and not from %s", from, want)
	}
	return nil
}

func answer(server net.PacketConn) error {
	from, err := receive(server)
	if err != nil {
		return err
	}
	_, err = server.WriteTo([]byte("answer"), from)
	return err
}

func receive(conn net.PacketConn) (net.Addr, error) {
	if err := conn.SetReadDeadline(time.Now().Add(receiveTimeout)); err != nil {
		return nil, err
	}
	_, from, err := conn.ReadFrom(make([]byte, 64))
	return from, err
}

func listenUDP(path string, addr *net.UDPAddr) (conn *net.UDPConn, err error) {
	err = netdev.InNamespace(path, func() (err error) {
		conn, err = net.ListenUDP("udp4", addr)
		return err
	})
	return conn, err
}
