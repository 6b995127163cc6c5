package e2e

import (
	"bufio"
	"context"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/internal/netdev"
)

// within runs something on a thread that is in a network namespace.
type within func(func() error) error

func inSandbox(l *lab.Lab, name string) within {
	l.Helper()
	sandbox := sandboxOf(l, name)
	return func(fn func() error) error { return netdev.InNamespace(sandbox, fn) }
}

// dialFrom connects from a port of a namespace, which other connections of it
// may have too, by TCP or UDP. It tries again until somebody is there.
func dialFrom(t *testing.T, in within, network string, from int, to string) net.Conn {
	t.Helper()
	dialer := net.Dialer{Timeout: askTimeout, Control: reuse}
	dialer.LocalAddr = &net.TCPAddr{Port: from}
	if strings.HasPrefix(network, "udp") {
		dialer.LocalAddr = &net.UDPAddr{Port: from}
	}
	var conn net.Conn
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = in(func() (err error) {
			conn, err = dialer.DialContext(context.Background(), network, to)
			return err
		}); err == nil {
			t.Cleanup(func() { conn.Close() })
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			return conn
		}
	}
	t.Fatal(err)
	return nil
}

// reuse lets connections to different addresses have one source port.
func reuse(_, _ string, raw syscall.RawConn) (err error) {
	if failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}); failed != nil {
		return failed
	}
	return err
}

// answerOn reads a line, or a datagram, after it has said something by UDP.
func answerOn(t *testing.T, conn net.Conn) string {
	t.Helper()
	for range 20 {
		if conn.RemoteAddr().Network() == "udp" {
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write([]byte("hello\n"))
		}
		if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " ")
			return line
		}
	}
	t.Errorf("%s from %s to %s: no answer", conn.LocalAddr().Network(), conn.LocalAddr(), conn.RemoteAddr())
	return ""
}

// TestPortShadowing covers a container that speaks from a port which the host
// serves, to somebody who then asks the host from the port that was spoken to:
// the host answers (nft_nat.sh, test_port_shadow; CVE-2021-3773).
func TestPortShadowing(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		l.OK("run", "-d", "--name=evil")
		l.Host.Background(selfPath, "udp-echo", ":1405")
		datagram(l.Host, port(f.host, "1405"), "up?")
		for range 8 {
			shadow := dialFrom(t, inSandbox(l, "evil"), f.kind("udp"), 1405, port(f.client, "41404"))
			if _, err := shadow.Write([]byte("fake entry")); err != nil {
				t.Fatal(err)
			}
			shadow.Close()
		}
		from := port(f.client, "41404")
		if got := persist(l.Client, "udp-ask-from", from, port(f.host, "1405"), "who?"); got != from+" who?" {
			t.Errorf("the host's service answered %q", got)
		}
	})
}

// TestSourcePortClash covers connections whose tuples differ only until they are
// translated (nf_nat_edemux.sh). One client uses one source port for two published
// ports of one server; the host uses one for a member of an alias and the alias.
func TestSourcePortClash(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := lab.New(t)
		f.network(l, "custombridge")
		runServer(l, "tcp00", "tcp-echo", ":80", "--network=custombridge", "--network-alias=rr", "-p", "8080:80", "-p", "8081:80")
		runServer(l, "udp00", "udp-echo", ":80", "--network=custombridge", "--network-alias=uu", "-p", "8080:80/udp", "-p", "8081:80/udp")
		for network, addrs := range map[string][]string{
			f.kind("tcp"): {port(f.inOther, "80"), port(f.vip(l, "rr"), "80")},
			f.kind("udp"): {port(f.addressOf(l, "udp00", "custombridge"), "80"), port(f.vip(l, "uu"), "80")},
		} {
			for _, in := range []struct {
				within
				addrs []string
			}{
				{l.Client.Do, []string{port(f.host, "8080"), port(f.host, "8081")}},
				{l.Host.Do, addrs},
			} {
				first := dialFrom(t, in.within, network, 10000, in.addrs[0])
				want := answerOn(t, first)
				second := dialFrom(t, in.within, network, 10000, in.addrs[1])
				if got := answerOn(t, second); got == want || got == "" {
					t.Errorf("%s: the server sees %q, whom it knows already, by %s", network, got, in.addrs[1])
				}
				if _, err := first.Write([]byte("still here\n")); err != nil {
					t.Errorf("%s to %s, afterwards: %v", network, in.addrs[0], err)
				}
				if got := answerOn(t, first); got != want && got != "still" {
					t.Errorf("%s to %s, afterwards: %q", network, in.addrs[0], got)
				}
			}
		}
	})
}

// TestReverseClash covers a server that speaks first, from the port that it serves,
// to a client which then asks it by the published port, from the port that was
// spoken to: both go on (conntrack_reverse_clash.sh).
func TestReverseClash(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		served, from := port(f.first, "53"), port(f.client, "40000")
		runServer(l, "net00", "udp-echo", served, "-p", "5353:53/udp")
		datagram(l.Client, port(f.host, "5353"), "up?")
		server := tapIn(l, "net00")
		frame := packet{srcMAC: firstMAC, dstMAC: gatewayMAC, src: served, dst: from, payload: "first"}.bytes()
		for range 3 {
			server.send(frame)
			got := persist(l.Client, "udp-ask-from", from, port(f.host, "5353"), "then")
			if !strings.HasPrefix(got, port(f.client, "")) || !strings.HasSuffix(got, " then") {
				t.Errorf("the server answered %q", got)
			}
		}
	})
}

// TestClientsShareASourcePort covers clients that use the same source port to the
// same server outside (nft_nat_zones.sh): each has its own answers.
func TestClientsShareASourcePort(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		l.Client.Background(selfPath, "tcp-echo", port(f.far, "7"))
		l.Client.Background(selfPath, "udp-echo", port(f.far, "7"))
		seen := map[string]string{}
		for _, name := range []string{"net00", "net01", "net02", "the host"} {
			in := within(l.Host.Do)
			if name != "the host" {
				l.OK("run", "-d", "--name="+name)
				in = inSandbox(l, name)
			}
			for _, network := range []string{f.kind("tcp"), f.kind("udp")} {
				got := network + " " + answerOn(t, dialFrom(t, in, network, 10000, port(f.far, "7")))
				if other, ok := seen[got]; ok {
					t.Errorf("%s and %s are both seen as %s", name, other, got)
				}
				seen[got] = name
			}
		}
	})
}

// TestPublishReachesOldSockets covers clients that were there before the port was
// published (conntrack_tcp_unreplied.sh): what nobody has answered leaves no
// flow that would keep them away.
func TestPublishReachesOldSockets(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		runServer(l, "net00", "tcp-echo", ":80")
		runServer(l, "net01", "udp-echo", ":53")
		udp := dialFrom(t, l.Client.Do, f.kind("udp"), 40000, port(f.host, "5353"))
		_ = udp.SetReadDeadline(time.Now().Add(askTimeout))
		_, _ = udp.Write([]byte("nobody there?\n"))
		if n, err := udp.Read(make([]byte, 64)); err == nil {
			t.Errorf("%d bytes came from a port that is not published", n)
		}
		expectUnreached(t, l.Client, port(f.host, "8080"))
		l.OK("publish", "net00", "8080:80")
		l.OK("publish", "net01", "5353:53/udp")
		from := port(f.client, "40000")
		if got := answerOn(t, udp); got != from {
			t.Errorf("by UDP the server saw %q", got)
		}
		if got := answerOn(t, dialFrom(t, l.Client.Do, f.kind("tcp"), 40000, port(f.host, "8080"))); got != from {
			t.Errorf("by TCP the server saw %q", got)
		}
	})
}

// TestBroadcastStaysInTheNetwork covers what is for everybody, or for a group, on a
// bridge that calls iptables (br_netfilter.sh): it reaches the neighbours and the
// host, and nobody else.
func TestBroadcastStaysInTheNetwork(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		callIptables(l.Host)
		// Bridged frames are forwarded ones to iptables then; doctor says so.
		rules, restore, to, toMAC := stateful, "iptables-restore", "172.17.255.255", "ff:ff:ff:ff:ff:ff"
		if f.is6() {
			rules, restore, to, toMAC = stateful6, "ip6tables-restore", allNodes, allNodesMAC
		}
		rules = regexp.MustCompile(`-A FORWARD.*\n`).ReplaceAllString(strings.Replace(rules, ":FORWARD DROP", ":FORWARD ACCEPT", 1), "")
		if r := l.Host.RunInput(rules, restore); r.Code != 0 {
			t.Fatal(r.Stderr)
		}
		f.network(l, "custombridge")
		l.OK("run", "-d", "--name=net00")
		l.OK("run", "-d", "--name=beside")
		l.OK("run", "-d", "--name=elsewhere", "--network=custombridge")
		sender, beside, host := tapIn(l, "net00"), tapIn(l, "beside"), tapOn(l.Host, t, "sluice0")
		elsewhere, outside := tapIn(l, "elsewhere"), tapOn(l.Client, t, "eth0")
		const everybody = "everybody"
		sender.send(packet{srcMAC: firstMAC, dstMAC: mustMAC(toMAC), src: port(f.first, "7"), dst: port(to, "7"), payload: everybody}.bytes())
		beside.until(everybody)
		host.until(everybody)
		for name, witness := range map[string]*tap{"another network": elsewhere, "the outside": outside} {
			for frame := witness.receive(50 * time.Millisecond); frame != nil; frame = witness.receive(50 * time.Millisecond) {
				if strings.Contains(string(frame), everybody) {
					t.Errorf("%s got the broadcast", name)
				}
			}
		}
	})
}
