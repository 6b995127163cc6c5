package hostnet_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"github.com/sluice-net/sluice/internal/hostnet"
	"golang.org/x/sys/unix"
)

// TestDisconnect ends connections to one address, of both protocols and of IPv6
// sockets too, and leaves those to others and those that are not named.
func TestDisconnect(t *testing.T) {
	t.Parallel()
	host := openHost(t)
	listener, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).AddrPort().Port()
	dial := func(network, addr string) net.Conn {
		conn, err := net.Dial(network, netip.AddrPortFrom(netip.MustParseAddr(addr), port).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	named := []net.Conn{dial("tcp4", "127.0.0.2"), dial("udp4", "127.0.0.2"), dialMapped(t, port)}
	others := []net.Conn{dial("tcp4", "127.0.0.3"), dial("udp4", "127.0.0.3"), dial("tcp6", "::1"), dial("udp6", "::1")}
	addr := netip.MustParseAddr("127.0.0.2")

	count := map[uint8]int{}
	none := func(c hostnet.Connection) bool {
		if c.Remote != netip.AddrPortFrom(addr, port) || c.Cookie == 0 {
			t.Errorf("asked of %+v", c)
		}
		count[c.Protocol]++
		return false
	}
	if err := host.Disconnect(addr, none); err != nil {
		t.Fatal(err)
	}
	if count[unix.IPPROTO_TCP] != 2 || count[unix.IPPROTO_UDP] != 1 {
		t.Errorf("connections by protocol: %v", count)
	}
	for _, conn := range named {
		expectEnded(t, conn, false)
	}
	if err := host.Disconnect(addr, func(hostnet.Connection) bool { return true }); err != nil {
		t.Fatal(err)
	}
	for _, conn := range named {
		expectEnded(t, conn, true)
	}
	if err := host.Disconnect(netip.MustParseAddr("::1"), func(c hostnet.Connection) bool { return c.Protocol == unix.IPPROTO_UDP }); err != nil {
		t.Fatal(err)
	}
	for i, conn := range others {
		expectEnded(t, conn, i == len(others)-1)
	}
}

// dialMapped connects a socket of IPv6 to 127.0.0.2.
func dialMapped(t *testing.T, port uint16) net.Conn {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "mapped")
	defer file.Close()
	if err := unix.Connect(fd, &unix.SockaddrInet6{Port: int(port), Addr: netip.MustParseAddr("127.0.0.2").As16()}); err != nil {
		t.Fatal(err)
	}
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// expectEnded asserts whether a connection was ended, which its socket knows at once.
func expectEnded(t *testing.T, conn net.Conn, ended bool) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var received error
	if err := raw.Control(func(fd uintptr) {
		_, _, received = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_DONTWAIT)
	}); err != nil {
		t.Fatal(err)
	}
	if got := errors.Is(received, unix.ECONNABORTED); got != ended {
		t.Errorf("%s to %s: ended %v, want %v: %v", conn.LocalAddr().Network(), conn.RemoteAddr(), got, ended, received)
	}
}
