package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/sluice-net/sluice/internal/netdev"
)

// How long a datagram may take, how often the first one is sent, and how long a
// port is waited for.
const (
	receiveTimeout = 200 * time.Millisecond
	establishTries = 50
	bindTimeout    = 5 * time.Second
)

// prove has sockets exchange datagrams by the lane's first flow, and checks that
// both see the addresses that they should. A bridge forwards nothing before
// the kernel has noticed that its port has a carrier, so the first is repeated.
func (l *lane) prove() error {
	src, dst := l.flow(0)
	server, err := listenUDP(l.to.namespace, netip.AddrPortFrom(l.replyAddr, l.served))
	if err != nil {
		return err
	}
	defer server.Close()
	sender, err := listenUDP(l.from.namespace, src)
	if err != nil {
		return err
	}
	defer sender.Close()
	for range establishTries {
		if err = l.exchange(sender, server, dst); err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return err
}

// exchange sends one datagram each way.
func (l *lane) exchange(sender, server *net.UDPConn, dst netip.AddrPort) error {
	if _, err := sender.WriteToUDPAddrPort([]byte("request"), dst); err != nil {
		return err
	}
	from, err := receive(server)
	if err != nil {
		return fmt.Errorf("the server: %w", err)
	}
	if from.Addr() != l.seen {
		return fmt.Errorf("the server was asked by %s and not by %s", from.Addr(), l.seen)
	}
	if _, err := server.WriteToUDPAddrPort([]byte("answer"), from); err != nil {
		return err
	}
	if from, err = receive(sender); err != nil {
		return fmt.Errorf("the sender: %w", err)
	}
	if from != dst {
		return fmt.Errorf("the answer came from %s and not from %s", from, dst)
	}
	return nil
}

func receive(conn *net.UDPConn) (netip.AddrPort, error) {
	if err := conn.SetReadDeadline(time.Now().Add(receiveTimeout)); err != nil {
		return netip.AddrPort{}, err
	}
	_, from, err := conn.ReadFromUDPAddrPort(make([]byte, 64))
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}

// listenUDP waits for a port that is taken: a child that something else has just
// forked holds a copy of each of our sockets until it executes, and so the port of
// one that is closed.
func listenUDP(path string, addr netip.AddrPort) (conn *net.UDPConn, err error) {
	for deadline := time.Now().Add(bindTimeout); ; time.Sleep(time.Millisecond) {
		err = netdev.InNamespace(path, func() (err error) {
			conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
			return err
		})
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return conn, err
		}
	}
}
