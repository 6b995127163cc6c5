package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// ways are the ways in which a process may reach ADDR:PORT. Each returns what
// the peer is called, and the answer.
var ways = map[string]func(to netip.AddrPort) (peer, answer string, err error){
	"tcp":                byTCP(""),
	"tcp, bound":         byTCP("own"),
	"udp, connected":     byConnectedUDP(""),
	"udp, bound":         byConnectedUDP("own"),
	"udp, sendto":        bySendto,
	"udp, two sendto":    byTwoSendto,
	"udp, bound, sendto": byBoundSendto,
}

// askEveryWay reaches each ADDR:PORT in every way of PROTOCOL, and prints a line
// for each in which that does not work or the peer is called another name.
func askEveryWay(args []string) error {
	asked := 0
	for _, addr := range args[1:] {
		to, err := netip.ParseAddrPort(addr)
		if err != nil {
			return err
		}
		for name, way := range ways {
			if !strings.HasPrefix(name, args[0]) {
				continue
			}
			asked++
			peer, answer, err := way(to)
			switch {
			case err != nil:
				fmt.Printf("%s to %s: %v\n", name, to, err)
			case peer != to.String():
				fmt.Printf("%s to %s: the peer is called %s\n", name, to, peer)
			case answer == "":
				fmt.Printf("%s to %s: an empty answer\n", name, to)
			}
		}
	}
	if asked == 0 {
		return fmt.Errorf("nothing was asked by %q", args[0])
	}
	return nil
}

// localTo is an address to bind to: loopback for loopback, else the one that the
// kernel would choose, with a port of its choice.
func localTo(to netip.AddrPort, bound string) (netip.AddrPort, error) {
	if bound == "" {
		return netip.AddrPort{}, nil
	}
	if to.Addr().IsLoopback() {
		return netip.AddrPortFrom(to.Addr(), 0), nil
	}
	probe, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.Addr(), 9)))
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer probe.Close()
	return netip.AddrPortFrom(probe.LocalAddr().(*net.UDPAddr).AddrPort().Addr(), 0), nil
}

func byTCP(bound string) func(netip.AddrPort) (string, string, error) {
	return func(to netip.AddrPort) (string, string, error) {
		dialer := net.Dialer{Timeout: askTimeout}
		local, err := localTo(to, bound)
		if err != nil {
			return "", "", err
		}
		if local.IsValid() {
			dialer.LocalAddr = net.TCPAddrFromAddrPort(local)
		}
		conn, err := dialer.Dial("tcp", to.String())
		if err != nil {
			return "", "", err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(askTimeout))
		line, err := bufio.NewReader(conn).ReadString('\n')
		return conn.RemoteAddr().String(), line, err
	}
}

func byConnectedUDP(bound string) func(netip.AddrPort) (string, string, error) {
	return func(to netip.AddrPort) (string, string, error) {
		local, err := localTo(to, bound)
		if err != nil {
			return "", "", err
		}
		var from *net.UDPAddr
		if local.IsValid() {
			from = net.UDPAddrFromAddrPort(local)
		}
		conn, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(to))
		if err != nil {
			return "", "", err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("hello")); err != nil {
			return "", "", err
		}
		answer, _, err := readDatagram(conn)
		return conn.RemoteAddr().String(), answer, err
	}
}

func bySendto(to netip.AddrPort) (string, string, error) {
	conn, err := listenFor(to)
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	return sendto(conn, to)
}

func byBoundSendto(to netip.AddrPort) (string, string, error) {
	local, err := localTo(to, "own")
	if err != nil {
		return "", "", err
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	return sendto(conn, to)
}

// byTwoSendto asks twice by one socket, in turn with another address.
func byTwoSendto(to netip.AddrPort) (peer, answer string, err error) {
	conn, err := listenFor(to)
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	for range 2 {
		nobody := netip.AddrPortFrom(to.Addr(), 9)
		if _, err := conn.WriteToUDPAddrPort([]byte("hello"), nobody); err != nil {
			return "", "", err
		}
		if peer, answer, err = sendto(conn, to); err != nil {
			return peer, answer, err
		}
	}
	return peer, answer, nil
}

func listenFor(to netip.AddrPort) (*net.UDPConn, error) {
	if to.Addr().Is4() {
		return net.ListenUDP("udp4", nil)
	}
	return net.ListenUDP("udp6", nil)
}

func sendto(conn *net.UDPConn, to netip.AddrPort) (peer, answer string, err error) {
	if _, err := conn.WriteToUDPAddrPort([]byte("hello"), to); err != nil {
		return "", "", err
	}
	answer, from, err := readDatagram(conn)
	return from.String(), answer, err
}

func readDatagram(conn *net.UDPConn) (answer string, from netip.AddrPort, err error) {
	_ = conn.SetReadDeadline(time.Now().Add(askTimeout))
	buffer := make([]byte, 256)
	n, from, err := conn.ReadFromUDPAddrPort(buffer)
	return string(buffer[:n]), from, err
}
