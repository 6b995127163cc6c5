package names

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// upstream is a name server on the machine's loopback.
type upstream struct {
	netip.AddrPort
	datagrams, streams atomic.Int32
}

func newUpstream(t *testing.T, answer func(query *dns.Msg, network string) *dns.Msg) *upstream {
	t.Helper()
	stream, datagram := listenTwice(t)
	u := &upstream{AddrPort: stream.Addr().(*net.TCPAddr).AddrPort()}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		network := w.LocalAddr().Network()
		if network == "udp" {
			u.datagrams.Add(1)
		} else {
			u.streams.Add(1)
		}
		if m := answer(query, network); m != nil {
			_ = w.WriteMsg(m)
		}
	})
	for _, server := range []*dns.Server{{PacketConn: datagram, Handler: handler}, {Listener: stream, Handler: handler}} {
		go server.ActivateAndServe()
	}
	t.Cleanup(func() { stream.Close(); datagram.Close() })
	return u
}

// listenTwice listens to one port that neither TCP nor UDP had.
func listenTwice(t *testing.T) (*net.TCPListener, *net.UDPConn) {
	t.Helper()
	for {
		stream, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		datagram, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(stream.Addr().(*net.TCPAddr).AddrPort()))
		if err == nil {
			return stream, datagram
		}
		stream.Close()
		if !errors.Is(err, unix.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

func code(rcode int) func(*dns.Msg, string) *dns.Msg {
	return func(query *dns.Msg, _ string) *dns.Msg { return new(dns.Msg).SetRcode(query, rcode) }
}

func clientOf(servers ...*upstream) *Client {
	return NewClient(func() (addrs []netip.AddrPort) {
		for _, s := range servers {
			addrs = append(addrs, s.AddrPort)
		}
		return addrs
	})
}

func TestForwardGoesOnToTheNext(t *testing.T) {
	t.Parallel()
	failing, refusing := newUpstream(t, code(dns.RcodeServerFailure)), newUpstream(t, code(dns.RcodeRefused))
	missing := newUpstream(t, code(dns.RcodeNameError))
	never := newUpstream(t, code(dns.RcodeSuccess))
	query := question("example.net", dns.TypeA)
	for name, test := range map[string]struct {
		servers []*upstream
		code    int // -1 for no answer
	}{
		"the first knows":      {[]*upstream{missing, never}, dns.RcodeNameError},
		"the third knows":      {[]*upstream{failing, refusing, missing}, dns.RcodeNameError},
		"a fourth is too many": {[]*upstream{failing, failing, refusing, never}, dns.RcodeRefused},
		"only failures":        {[]*upstream{refusing, failing}, dns.RcodeServerFailure},
		"nobody":               {nil, -1},
	} {
		answer := clientOf(test.servers...).Forward(context.Background(), query, "udp", nil)
		if (answer == nil) != (test.code < 0) || answer != nil && (answer.Rcode != test.code || answer.Id != query.Id) {
			t.Errorf("%s: %v", name, answer)
		}
	}
	if n := never.datagrams.Load(); n != 0 {
		t.Errorf("a server that nobody should ask was asked %d times", n)
	}
	// A container's own servers come instead of everyone's.
	if answer := clientOf(failing).Forward(context.Background(), query, "tcp", []netip.AddrPort{missing.AddrPort}); answer == nil || answer.Rcode != dns.RcodeNameError || missing.streams.Load() != 1 {
		t.Errorf("own servers: %v", answer)
	}
}

// TestForwardAsksAgainByTCP covers an answer that its server cut.
func TestForwardAsksAgainByTCP(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, func(query *dns.Msg, network string) *dns.Msg {
		m := new(dns.Msg).SetReply(query)
		m.Truncated = network == "udp"
		return m
	})
	answer := clientOf(u).Forward(context.Background(), question("example.net", dns.TypeA), "udp", nil)
	if answer == nil || answer.Truncated || u.datagrams.Load() != 1 || u.streams.Load() != 1 {
		t.Errorf("%v after %d datagrams and %d connections", answer, u.datagrams.Load(), u.streams.Load())
	}
}

// TestForwardEndsWithItsContext covers the end of a sandbox whose query waits.
func TestForwardEndsWithItsContext(t *testing.T) {
	t.Parallel()
	silent := newUpstream(t, func(*dns.Msg, string) *dns.Msg { return nil })
	for _, network := range []string{"udp", "tcp"} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		done := make(chan *dns.Msg)
		go func() {
			done <- clientOf(silent, silent).Forward(ctx, question("example.net", dns.TypeA), network, nil)
		}()
		select {
		case answer := <-done:
			if answer != nil {
				t.Errorf("%s: %v", network, answer)
			}
		case <-time.After(serverTimeout):
			t.Errorf("%s: still waiting", network)
		}
	}
}

func TestForwardIsBounded(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, code(dns.RcodeSuccess))
	c := clientOf(u)
	for range maxQueries {
		c.queries <- struct{}{}
	}
	if answer := c.Forward(context.Background(), question("example.net", dns.TypeA), "udp", nil); answer != nil || u.datagrams.Load() != 0 {
		t.Errorf("one too many: %v", answer)
	}
}

func TestAnswersOfOthers(t *testing.T) {
	t.Parallel()
	query := question("example.net", dns.TypeA)
	good := func() *dns.Msg { return new(dns.Msg).SetReply(query) }
	for name, spoil := range map[string]func(*dns.Msg){
		"another ID":   func(m *dns.Msg) { m.Id++ },
		"a query":      func(m *dns.Msg) { m.Response = false },
		"another name": func(m *dns.Msg) { m.Question[0].Name = "example.com." },
		"another type": func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMX },
		"no question":  func(m *dns.Msg) { m.Question = nil },
	} {
		m := good()
		m.Question = slices.Clone(m.Question)
		spoil(m)
		if answers(m, query) {
			t.Errorf("%s: taken", name)
		}
	}
	if !answers(good(), query) {
		t.Error("the right answer was not taken")
	}
}

func TestHostServers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	h := NewHostServers(path)
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(servers ...string) {
		t.Helper()
		var got []string
		for _, s := range h.Servers() {
			got = append(got, s.String())
		}
		if !slices.Equal(got, servers) {
			t.Errorf("got %v, want %v", got, servers)
		}
	}
	want()
	write("# nameserver 192.0.2.1\nnameserver 127.0.0.53\nnameserver nonsense\nsearch example.net\nnameserver 2001:db8::1\n")
	want("127.0.0.53:53", "[2001:db8::1]:53")
	write("nameserver 192.0.2.7\n")
	want("192.0.2.7:53")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want("192.0.2.7:53")
}

func TestParseServers(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:53", "192.0.2.1:5353": "192.0.2.1:5353", "::1": "[::1]:53", "[::1]:54": "[::1]:54",
		"": "", "host": "", "192.0.2.1:0": "", "192.0.2.1:70000": "", "192.0.2.1/24": "",
	} {
		got, err := ParseServers([]string{in})
		if want == "" != (err != nil) || err == nil && got[0].String() != want {
			t.Errorf("%q: %v, %v; want %q", in, got, err, want)
		}
	}
}

// TestForwardWaitsForTheServer is RFC 5452 9.1: what does not answer the query is
// passed over, for whoever guesses a port would end the query by it.
func TestForwardWaitsForTheServer(t *testing.T) {
	t.Parallel()
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		packet := make([]byte, maxUDP)
		n, from, err := server.ReadFromUDP(packet)
		query := new(dns.Msg)
		if err != nil || query.Unpack(packet[:n]) != nil {
			return
		}
		right := new(dns.Msg).SetReply(query)
		other := right.Copy()
		other.Id++
		evil := right.Copy()
		evil.Question[0].Name = "example.com."
		raw := [][]byte{nil, packet[:5], append(packet[:12:12], 0xff), packet[:n]}
		for _, m := range []*dns.Msg{other, evil, right} {
			packed, _ := m.Pack()
			raw = append(raw, packed)
		}
		for _, m := range raw {
			_, _ = server.WriteToUDP(m, from)
		}
	}()
	client := NewClient(func() []netip.AddrPort { return []netip.AddrPort{server.LocalAddr().(*net.UDPAddr).AddrPort()} })
	answer := client.Forward(t.Context(), question("example.net", dns.TypeA), "udp", nil)
	if answer == nil || answer.Rcode != dns.RcodeSuccess || answer.Question[0].Name != "example.net." {
		t.Errorf("%v", answer)
	}
}
