package e2e

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/internal/netdev"
)

// tcpLast connects to ADDR:PORT and says something again and again, until that
// is refused; then it prints how. The silence of a peer that is gone is an error.
func tcpLast(args []string) error {
	conn, err := net.DialTimeout("tcp", args[0], askTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for _, said := range []string{"", "connected\n"} { // the greeting, and an echo
		_, _ = io.WriteString(conn, said)
		if _, err := reader.ReadString('\n'); err != nil {
			return err
		}
	}
	println("connected")
	for {
		_ = conn.SetDeadline(time.Now().Add(lastTimeout))
		if _, err = conn.Write([]byte("still\n")); err == nil {
			_, err = reader.ReadString('\n')
		}
		if err != nil {
			println(err.Error())
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// lastTimeout is longer than it takes TCP to send again a few times.
const lastTimeout = 8 * time.Second

// lasting starts a program that prints "connected" and, much later, one more
// line, which it hands over.
func lasting(t testing.TB, n *lab.Namespace, name string, args ...string) <-chan string {
	t.Helper()
	cmd := exec.Command(name, args...)
	output, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	if !lines.Scan() || lines.Text() != "connected" {
		t.Fatalf("%s %s: %q", name, strings.Join(args, " "), lines.Text())
	}
	last := make(chan string, 1)
	go func() {
		lines.Scan()
		last <- lines.Text()
		_ = cmd.Wait()
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return last
}

// TestTCPLearnsOfRemoval covers connections of every kind to a container that
// goes without a word, as its device is down: each is told by a reset and waits
// for no timeout.
func TestTCPLearnsOfRemoval(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := removalLab(t, f)
		only := port(f.vip(l, "rr"), "80")
		shared := port(f.vip(l, "rest"), "80")
		ends := map[string]<-chan string{
			"the client":                  lastingOn(t, l.Client, port(f.host, "8080")),
			"the host, by loopback":       lastingOn(t, l.Host, port(f.loopback, "8080")),
			"the host, by its address":    lastingOn(t, l.Host, port(f.host, "8080")),
			"the host, directly":          lastingOn(t, l.Host, port(f.inOther, "80")),
			"the host, by an alias":       lastingOn(t, l.Host, shared),
			"the host, by its alias":      lastingOn(t, l.Host, only),
			"a neighbour, by the host":    lastingIn(t, l, "beside", port(f.host, "8080")),
			"a neighbour":                 lastingIn(t, l, "beside", port(f.inOther, "80")),
			"a neighbour, by an alias":    lastingIn(t, l, "beside", shared),
			"a neighbour, by its alias":   lastingIn(t, l, "beside", only),
			"another network's container": lastingIn(t, l, "elsewhere", port(f.host, "8080")),
		}
		runServer(l, "stays", "tcp-echo", ":80", "--network=custombridge", "--network-alias=rest")
		if err := netdev.InNamespace(sandboxOf(l, "gone"), func() error {
			eth0, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return netlink.LinkSetDown(eth0)
		}); err != nil {
			t.Fatal(err)
		}
		l.OK("rm", "-f", "gone")
		expectReset(t, ends)
	})
}

// TestTCPLearnsOfUnpublish covers those that came by a port which leads nowhere
// now, to a container that goes on. Who came another way keeps its connection.
func TestTCPLearnsOfUnpublish(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := removalLab(t, f)
		ends := map[string]<-chan string{
			"the client":                  lastingOn(t, l.Client, port(f.host, "8080")),
			"the host, by loopback":       lastingOn(t, l.Host, port(f.loopback, "8080")),
			"the host, by its address":    lastingOn(t, l.Host, port(f.host, "8080")),
			"a neighbour, by the host":    lastingIn(t, l, "beside", port(f.host, "8080")),
			"another network's container": lastingIn(t, l, "elsewhere", port(f.host, "8080")),
		}
		stay := map[string]<-chan string{
			"the host, by another port": lastingOn(t, l.Host, port(f.loopback, "8081")),
			"the client, by that port":  lastingOn(t, l.Client, port(f.host, "8081")),
			"the host, directly":        lastingOn(t, l.Host, port(f.inOther, "80")),
		}
		l.OK("unpublish", "gone", "8080:80")
		expectReset(t, ends)
		for who, end := range stay {
			select {
			case said := <-end:
				t.Errorf("%s: %s", who, said)
			default:
			}
		}
	})
}

// removalLab has a container `gone` that is published and has an alias, and two
// that are clients: one beside it, one in another network.
func removalLab(t *testing.T, f family) *lab.Lab {
	t.Helper()
	l := f.lab(t)
	f.network(l, "custombridge")
	runServer(l, "gone", "tcp-echo", ":80", "--network=custombridge", "--network-alias=rr", "--network-alias=rest", "-p", "8080:80", "-p", "8081:80")
	l.OK("run", "-d", "--name=beside", "--network=custombridge")
	l.OK("run", "-d", "--name=elsewhere")
	greeting(l.Client, port(f.host, "8080"))
	return l
}

func lastingOn(t *testing.T, n *lab.Namespace, addr string) <-chan string {
	t.Helper()
	return lasting(t, n, selfPath, "tcp-last", addr)
}

func lastingIn(t *testing.T, l *lab.Lab, container, addr string) <-chan string {
	t.Helper()
	return lasting(t, l.Host, lab.Binary(t), "--root", l.Root, "exec", container, selfPath, "tcp-last", addr)
}

func expectReset(t *testing.T, ends map[string]<-chan string) {
	t.Helper()
	patience := time.After(lastTimeout + 2*time.Second)
	for who, end := range ends {
		said := "goes on"
		select {
		case said = <-end:
		case <-patience:
		}
		if !strings.Contains(said, "reset") && !strings.Contains(said, "abort") && !strings.Contains(said, "broken pipe") {
			t.Errorf("%s: %s", who, said)
		}
	}
}

// udpLast asks ADDR:PORT again and again, by a socket that is connected, or by
// sendto when CONNECTED is "no". It prints who answers when that has changed, or
// the error that came instead.
func udpLast(args []string) error {
	to, err := netip.ParseAddrPort(args[0])
	if err != nil {
		return err
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	send := func() error { _, err := conn.Write([]byte("who?")); return err }
	if args[1] == "no" {
		conn, err = listenFor(to)
		send = func() error { _, err := conn.WriteToUDPAddrPort([]byte("who?"), to); return err }
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	first := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err := send(); err != nil {
			if errors.Is(err, unix.ECONNREFUSED) {
				continue // while nobody is there
			}
			println(err.Error())
			return nil
		}
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		buffer := make([]byte, 64)
		n, err := conn.Read(buffer)
		answer := string(buffer[:n])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, unix.ECONNREFUSED):
		case err != nil:
			println(err.Error())
			return nil
		case first == "":
			first = answer
			println("connected")
		case answer != first:
			println(answer)
			return nil
		}
	}
	println("nobody else")
	return nil
}

// TestUDPFollowsRemoval covers sockets that outlive the container which they
// talked to (moby#8795, cilium#12859): their next datagram reaches the one that
// has its port now, while another has its address. A connected socket of the host
// gets an error, since its address is all that the kernel knows.
func TestUDPFollowsRemoval(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		f.network(l, "custombridge")
		serve := func(name string) {
			runServer(l, name, "member", ":53", "--network=custombridge", "--network-alias=rr", "-p", "5353:53/udp")
		}
		serve("old")
		l.OK("run", "-d", "--name=beside", "--network=custombridge")
		datagram(l.Client, port(f.host, "5353"), "up?")
		last := func(n *lab.Namespace, addr, connected string) <-chan string {
			return lasting(t, n, selfPath, "udp-last", addr, connected)
		}
		in := func(addr string) <-chan string {
			return lasting(t, l.Host, lab.Binary(t), "--root", l.Root, "exec", "beside", selfPath, "udp-last", addr, "yes")
		}
		service := port(f.vip(l, "rr"), "53")
		ends := map[string]<-chan string{
			"the client":                        last(l.Client, port(f.host, "5353"), "yes"),
			"the client, not connected":         last(l.Client, port(f.host, "5353"), "no"),
			"the host, not connected":           last(l.Host, port(f.loopback, "5353"), "no"),
			"a neighbour, by the host":          in(port(f.host, "5353")),
			"a neighbour, by the alias":         in(service),
			"the host, by the alias, by sendto": last(l.Host, service, "no"),
		}
		connected := last(l.Host, port(f.loopback, "5353"), "yes")
		l.OK("rm", "-f", "old")
		l.OK("run", "-d", "--network=custombridge") // takes the old address
		serve("new")
		want := addressOf(l, "new", "custombridge")
		for who, end := range ends {
			if got := <-end; got != want {
				t.Errorf("%s: %s, want %s", who, got, want)
			}
		}
		// Whoever writes before it reads finds the socket without a destination.
		if got := <-connected; !strings.Contains(got, "abort") && !strings.Contains(got, "destination address required") {
			t.Errorf("the host, connected: %s", got)
		}
	})
}
