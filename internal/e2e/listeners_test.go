package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

// socketKind is a socket of the host that has a port: what it does to whoever
// publishes that port, and what the published port does to it.
type socketKind struct {
	name     string
	protocol string // of the port, as in "8080:80/PROTOCOL"
	open     func(f family, port string) (io.Closer, error)
	// conflicts says on which host addresses publishing meets the socket.
	conflicts func(f family) map[string]bool
}

func onEvery(yes bool) func(family) map[string]bool {
	return func(f family) map[string]bool {
		return map[string]bool{"": yes, f.loopback: yes, f.host: yes}
	}
}

func onlyOn(which func(family) string) func(family) map[string]bool {
	return func(f family) map[string]bool {
		conflicts := onEvery(false)(f)
		conflicts[""], conflicts[which(f)] = true, true
		return conflicts
	}
}

func loopbackOf(f family) string { return f.loopback }
func hostOf(f family) string     { return f.host }
func anyOf(family) string        { return "" }

// loopback6 leads to ports of IPv4 too.
func loopback6(family) string { return "::1" }

var socketKinds = []socketKind{
	{"listener", "tcp", listening("tcp", anyOf), onEvery(true)},
	{"listener on the host's address", "tcp", listening("tcp", hostOf), onlyOn(hostOf)},
	{"listener on loopback", "tcp", listening("tcp", loopbackOf), onlyOn(loopbackOf)},
	{"listener on ::1", "tcp", listening("tcp", loopback6), onlyOn(loopbackOf)},
	{"bound, and yet to listen", "tcp", bound(unix.SOCK_STREAM, false), onlyOn(hostOf)},
	{"listener that shares its port", "tcp", bound(unix.SOCK_STREAM, true), onlyOn(hostOf)},
	{"UDP socket", "udp", binding("udp", anyOf), onEvery(true)},
	{"UDP socket on the host's address", "udp", binding("udp", hostOf), onlyOn(hostOf)},
	{"UDP socket on loopback", "udp", binding("udp", loopbackOf), onlyOn(loopbackOf)},
	{"UDP socket on ::1", "udp", binding("udp", loopback6), onlyOn(loopbackOf)},
	{"UDP socket that shares its port", "udp", bound(unix.SOCK_DGRAM, true), onlyOn(hostOf)},
	{"listener of the other protocol", "udp", listening("tcp", anyOf), onEvery(false)},
}

func listening(network string, on func(family) string) func(family, string) (io.Closer, error) {
	return func(f family, number string) (io.Closer, error) { return net.Listen(network, port(on(f), number)) }
}

func binding(network string, on func(family) string) func(family, string) (io.Closer, error) {
	return func(f family, number string) (io.Closer, error) {
		return net.ListenPacket(network, port(on(f), number))
	}
}

// bound binds a socket to the host's address and does no more.
func bound(kind int, shared bool) func(family, string) (io.Closer, error) {
	return func(f family, number string) (io.Closer, error) {
		addr := netip.MustParseAddr(f.host)
		domain := unix.AF_INET
		if addr.Is6() {
			domain = unix.AF_INET6
		}
		fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		file := os.NewFile(uintptr(fd), number)
		if shared {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}
		n, _ := strconv.Atoi(number)
		if err == nil {
			err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(addr, uint16(n))))
		}
		if err == nil && shared && kind == unix.SOCK_STREAM {
			err = unix.Listen(fd, 1)
		}
		if err != nil {
			file.Close()
			return nil, err
		}
		return file, nil
	}
}

func sockaddr(to netip.AddrPort) unix.Sockaddr {
	if to.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
}

// openSocket opens the socket kind NUMBER on PORT, for the family NUMBER, and ends
// with standard input.
func openSocket(args []string) error {
	kind, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	of, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	socket, err := socketKinds[kind].open(families[of], args[2])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, socket.Close())
}

// TestListenersAndPublishedPorts covers a port that a process of the host and a
// container both want: whoever comes second is told so, and what does not
// overlap goes side by side.
func TestListenersAndPublishedPorts(t *testing.T) {
	t.Parallel()
	for i, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			l := f.lab(t)
			l.OK("run", "-d", "--name=net00")
			for k, kind := range socketKinds {
				t.Run(kind.name+", "+kind.protocol, func(t *testing.T) {
					t.Parallel()
					number := fmt.Sprint(7000 + k)
					for addr, conflict := range kind.conflicts(f) {
						expectOneHolder(t, l, i, k, addr, number, conflict)
					}
				})
			}
		})
	}
}

// expectOneHolder opens a socket and publishes its port on an address of the
// host, in both orders.
func expectOneHolder(t *testing.T, l *lab.Lab, of, kind int, addr, number string, conflict bool) {
	t.Helper()
	k := socketKinds[kind]
	spec := number + ":80/" + k.protocol
	if addr != "" {
		spec = port(addr, spec)
	}
	// A process of its own has it: what this one closes, its children that do not
	// execute yet have still.
	args := []string{fmt.Sprint(kind), fmt.Sprint(of), number}
	socket := startWorker(t, l.Host, k.name, "open-socket", args...)
	socket.awaitReady()
	r := l.Sluice("publish", "net00", spec)
	socket.kill()
	switch {
	case conflict:
		expectLine(t, "publish "+spec+" beside the socket", r, 125, number)
		if r = l.Sluice("publish", "net00", spec); r.Code != 0 {
			t.Fatalf("publish %s once the socket is closed: %s", spec, r.Stderr)
		}
	case r.Code != 0:
		t.Errorf("publish %s beside the socket: %s", spec, r.Stderr)
	}
	r = l.Host.Run(selfPath, append([]string{"open-socket"}, args...)...)
	if inUse := strings.Contains(r.Stderr, "address already in use"); inUse != conflict || !conflict && r.Code != 0 {
		t.Errorf("the socket beside %s: exit code %d, %s", spec, r.Code, r.Stderr)
	}
	if r = l.Sluice("unpublish", "net00", spec); r.Code != 0 {
		t.Errorf("unpublish %s: %s", spec, r.Stderr)
	}
}
