package names

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/netdev/netdevtest"
)

// patience bounds what a test waits for: a busy machine takes its time.
const patience = 30 * time.Second

func newService(f Forwarder, attach func() error) *Service {
	return NewService(Options{Directory: directory{}, Forwarder: f, Attach: attach, Log: slog.New(slog.DiscardHandler)})
}

func noAttach() error { return nil }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dial connects to a sandbox's server, without the program that swaps ports.
func dial(t testing.TB, sandbox, network string) net.Conn {
	t.Helper()
	var conn net.Conn
	must(t, netdev.InNamespace(sandbox, func() (err error) {
		conn, err = net.Dial(network, netip.AddrPortFrom(Server, datapath.ResolverPort).String())
		return err
	}))
	t.Cleanup(func() { conn.Close() })
	return conn
}

func exchangeOn(t testing.TB, conn net.Conn, query *dns.Msg) *dns.Msg {
	t.Helper()
	answer, _, err := (&dns.Client{Timeout: patience}).ExchangeWithConn(query, &dns.Conn{Conn: conn})
	must(t, err)
	return answer
}

func TestServe(t *testing.T) {
	t.Parallel()
	attached := 0
	s := newService(&forwarder{}, func() error { attached++; return nil })
	one, two := netdevtest.NewNamespace(t), netdevtest.NewNamespace(t)
	for _, sandbox := range []string{one, two, one} { // the same again is no error
		must(t, s.Serve(sandbox, nil))
	}
	if attached != 2 {
		t.Errorf("%d attached, want one per sandbox", attached)
	}
	for _, network := range []string{"udp", "tcp"} {
		if answer := exchangeOn(t, dial(t, one, network), question("net01", dns.TypeA)); len(answer.Answer) != 1 {
			t.Errorf("%s: %v", network, answer)
		}
	}
	for range 2 {
		must(t, s.Stop(one))
	}
	must(t, s.Serve(one, nil)) // its ports are free again
	must(t, s.Close())
}

// TestServeLeavesNothing covers a sandbox that is none, and one where nothing
// can be attached.
func TestServeLeavesNothing(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	fail := true
	s := newService(&forwarder{}, func() error {
		if fail {
			return broken
		}
		return nil
	})
	if err := s.Serve(t.TempDir(), nil); !errors.Is(err, netdev.ErrNotNamespace) {
		t.Errorf("no namespace: %v", err)
	}
	sandbox := netdevtest.NewNamespace(t)
	if err := s.Serve(sandbox, nil); !errors.Is(err, broken) || !strings.Contains(err.Error(), sandbox) {
		t.Errorf("nothing attached: %v", err)
	}
	fail = false
	must(t, s.Serve(sandbox, nil))
	must(t, s.Close())
}

// TestStopDoesNotWait stops a server that has a query outside, and connections
// that ask nothing.
func TestStopDoesNotWait(t *testing.T) {
	t.Parallel()
	f := &forwarder{wait: make(chan struct{})}
	s := newService(f, noAttach)
	sandbox := netdevtest.NewNamespace(t)
	must(t, s.Serve(sandbox, nil))
	for range maxConnections + 5 {
		dial(t, sandbox, "tcp")
	}
	raw, err := question("example.net", dns.TypeA).Pack()
	must(t, err)
	_, err = dial(t, sandbox, "udp").Write(raw)
	must(t, err)
	for deadline := time.Now().Add(patience); f.asked.Load() == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	stopped := make(chan error)
	go func() { stopped <- s.Stop(sandbox) }()
	select {
	case err := <-stopped:
		must(t, err)
	case <-time.After(patience):
		t.Error("the server still waits")
	}
	if f.asked.Load() != 1 {
		t.Errorf("%d queries were outside, want one", f.asked.Load())
	}
}

// BenchmarkIdleServer measures what a server that nobody asks keeps in memory.
func BenchmarkIdleServer(b *testing.B) {
	s := newService(&forwarder{}, noAttach)
	const servers = 200
	var sandboxes []string
	for range servers {
		sandboxes = append(sandboxes, netdevtest.NewNamespace(b))
	}
	inUse := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	most := 0.0 // later rounds reuse the stacks of the first
	for b.Loop() {
		before := inUse()
		for _, sandbox := range sandboxes {
			must(b, s.Serve(sandbox, nil))
		}
		time.Sleep(50 * time.Millisecond) // until each of them waits
		most = max(most, (float64(inUse())-float64(before))/servers)
		must(b, s.Close())
	}
	b.ReportMetric(most, "B/server")
}

// BenchmarkAnswer measures an answer from the directory, from packet to packet.
func BenchmarkAnswer(b *testing.B) {
	s := newService(&forwarder{}, noAttach)
	sandbox := netdevtest.NewNamespace(b)
	must(b, s.Serve(sandbox, nil))
	defer s.Close()
	conn := dial(b, sandbox, "udp")
	for b.Loop() {
		exchangeOn(b, conn, question("net01", dns.TypeA))
	}
}
