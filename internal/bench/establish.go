package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/sluice-net/sluice/internal/netdev"
)

// clientPort is the flow's.
const clientPort = 40000

// How long a datagram may take, and how often the first one is sent.
const (
	receiveTimeout = 200 * time.Millisecond
	establishTries = 50
)

// establish makes the client and a server at addr in the container exchange
// datagrams through the published port: two each way, after which every
// conntrack holds the flow as established. A bridge forwards nothing before the
// kernel has noticed that its port has a carrier, so the first is repeated.
func (s *site) establish(container string) error {
	server, err := listenUDP(container, &net.UDPAddr{Port: int(forwardedPort.container)})
	if err != nil {
		return err
	}
	defer server.Close()
	client, err := listenUDP(s.client, &net.UDPAddr{IP: net.ParseIP(ipv4.client.Addr().String()), Port: clientPort})
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
	if _, err := client.WriteTo([]byte("request"), &net.UDPAddr{IP: ipv4.host.Addr().AsSlice(), Port: int(forwardedPort.host)}); err != nil {
		return err
	}
	if err := answer(server); err != nil {
		return fmt.Errorf("the container's server: %w", err)
	}
	from, err := receive(client)
	if err != nil {
		return fmt.Errorf("the client: %w", err)
	}
	if want := netip.AddrPortFrom(ipv4.host.Addr(), forwardedPort.host).String(); from.String() != want {
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
