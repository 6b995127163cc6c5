package hostnet_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-net/sluice/internal/hostnet"
	"github.com/sluice-net/sluice/internal/netdev/netdevtest"
	"golang.org/x/sys/unix"
)

func openHost(t *testing.T) *hostnet.Host {
	t.Helper()
	netdevtest.Enter(t)
	host, err := hostnet.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	return host
}

// bind holds a port of addr with a TCP ("tcp") or UDP ("udp") socket; "*" is
// the IPv6 wildcard of a dual-stack socket, other IPv6 sockets are v6-only.
func bind(t *testing.T, network, addr string) {
	t.Helper()
	where, dualStack := strings.CutPrefix(addr, "*")
	if dualStack {
		where = "[::]" + where
	}
	config := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) (err error) {
		if strings.HasSuffix(network, "6") && dualStack {
			c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
			})
		}
		return err
	}}
	family := "4"
	if strings.HasPrefix(where, "[") {
		family = "6"
	}
	var socket io.Closer
	var err error
	if network == "tcp" {
		socket, err = config.Listen(context.Background(), network+family, where)
	} else {
		socket, err = config.ListenPacket(context.Background(), network+family, where)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", network, addr, err)
	}
	t.Cleanup(func() { socket.Close() })
}

func TestListenersHolding(t *testing.T) {
	t.Parallel()
	host := openHost(t)
	bind(t, "tcp", "127.0.0.1:1001")
	bind(t, "tcp", "0.0.0.0:1002")
	bind(t, "tcp", "*:1003")
	bind(t, "tcp", "[::]:1004")
	bind(t, "tcp", "[::1]:1005")
	bind(t, "udp", "127.0.0.2:1006")
	bind(t, "udp", "*:1007")
	bind(t, "udp", "0.0.0.0:1008")

	tcp, udp := snapshot(t, host, unix.IPPROTO_TCP), snapshot(t, host, unix.IPPROTO_UDP)
	for _, c := range []struct {
		listeners   hostnet.Listeners
		addr        string
		first, last uint16
		want        string
	}{
		{tcp, "0.0.0.0", 1001, 1001, "127.0.0.1:1001"},
		{tcp, "127.0.0.1", 1001, 1001, "127.0.0.1:1001"},
		{tcp, "127.0.0.2", 1001, 1001, ""},
		{tcp, "127.0.0.2", 1002, 1002, "0.0.0.0:1002"},
		{tcp, "0.0.0.0", 1003, 1003, "[::]:1003"},
		{tcp, "127.0.0.1", 1003, 1003, "[::]:1003"},
		{tcp, "0.0.0.0", 1004, 1004, "[::]:1004"},
		{tcp, "127.0.0.1", 1004, 1004, "[::]:1004"},
		{tcp, "127.0.0.2", 1004, 1004, ""},
		{tcp, "0.0.0.0", 1005, 1005, "[::1]:1005"},
		{tcp, "127.0.0.1", 1005, 1005, "[::1]:1005"},
		{tcp, "127.0.0.2", 1005, 1005, ""},
		{tcp, "0.0.0.0", 1006, 2000, ""},
		{tcp, "0.0.0.0", 900, 1001, "127.0.0.1:1001"},
		{tcp, "0.0.0.0", 1, 1000, ""},
		{udp, "0.0.0.0", 1001, 1005, ""},
		{udp, "127.0.0.2", 1006, 1006, "127.0.0.2:1006"},
		{udp, "127.0.0.1", 1007, 1007, "[::]:1007"},
		{tcp, "::", 1001, 1002, ""}, // those are of IPv4
		{tcp, "::", 1003, 1003, "[::]:1003"},
		{tcp, "2001:db8::1", 1004, 1004, "[::]:1004"},
		{tcp, "::", 1005, 1005, "[::1]:1005"},
		{tcp, "::1", 1005, 1005, "[::1]:1005"},
		{tcp, "2001:db8::1", 1005, 1005, ""},
		{udp, "::", 1008, 1008, ""},
	} {
		got, taken := c.listeners.Holding(netip.MustParseAddr(c.addr), c.first, c.last)
		if taken != (c.want != "") || taken && got.String() != c.want {
			t.Errorf("Holding(%s, %d-%d) = %v, %v, want %q", c.addr, c.first, c.last, got, taken, c.want)
		}
	}
}

func TestListenersLeaveConnectionsOut(t *testing.T) {
	t.Parallel()
	host := openHost(t)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	connected, err := net.Dial("udp4", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()

	if got := fmt.Sprint(snapshot(t, host, unix.IPPROTO_TCP)); got != fmt.Sprintf("[{%s false}]", listener.Addr()) {
		t.Errorf("TCP: %s", got)
	}
	if got := snapshot(t, host, unix.IPPROTO_UDP); len(got) != 0 {
		t.Errorf("UDP: %v", got)
	}
}

func snapshot(t *testing.T, host *hostnet.Host, protocol uint8) hostnet.Listeners {
	t.Helper()
	listeners, err := host.Listeners(protocol)
	if err != nil {
		t.Fatal(err)
	}
	return listeners
}
