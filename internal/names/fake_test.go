package names

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// directory knows net01, at 172.20.0.2 of custombridge, dual with IPv6, and many.
type directory struct{ internal bool }

func (directory) ResolveName(_, name string) ([]netip.Addr, bool) {
	switch strings.ToLower(name) {
	case "net01", "net01.custombridge":
		return []netip.Addr{netip.MustParseAddr("172.20.0.2")}, true
	case "dual":
		return []netip.Addr{netip.MustParseAddr("172.20.0.3"), netip.MustParseAddr("fd00:20::3")}, true
	case "many":
		addr, addrs := netip.MustParseAddr("172.20.1.0"), []netip.Addr(nil)
		for range 200 {
			addrs, addr = append(addrs, addr), addr.Next()
		}
		return addrs, true
	}
	return nil, false
}

func (directory) ResolveAddress(_ string, addr netip.Addr) (string, bool) {
	switch addr {
	case netip.MustParseAddr("172.20.0.2"):
		return "net01.custombridge", true
	case netip.MustParseAddr("fd00:20::3"):
		return "dual.custombridge", true
	}
	return "", false
}

func (d directory) ReachesOutside(string) bool { return !d.internal }

// forwarder answers NXDOMAIN, or what it is told to.
type forwarder struct {
	asked  atomic.Int32
	nobody bool          // no server answers
	wait   chan struct{} // answers come when it is closed
}

func (f *forwarder) Forward(ctx context.Context, query *dns.Msg, _ string, _ []netip.AddrPort) *dns.Msg {
	f.asked.Add(1)
	if f.wait != nil {
		select {
		case <-f.wait:
		case <-ctx.Done():
		}
	}
	if f.nobody {
		return nil
	}
	return new(dns.Msg).SetRcode(query, dns.RcodeNameError)
}

// writer keeps the answer.
type writer struct {
	dns.ResponseWriter
	local  net.Addr
	answer *dns.Msg
}

func (w *writer) LocalAddr() net.Addr { return w.local }

// WriteMsg packs and unpacks, as the wire would.
func (w *writer) WriteMsg(m *dns.Msg) error {
	raw, err := m.Pack()
	if err != nil {
		return err
	}
	w.answer = &dns.Msg{Compress: true} // so that Len is that of raw
	return w.answer.Unpack(raw)
}

// bench is a resolver among fakes.
type bench struct {
	*resolver
	forwarder *forwarder
	outcomes  map[string]int
}

func newBench(d directory) *bench {
	b := &bench{forwarder: &forwarder{}, outcomes: map[string]int{}}
	observer := &atomic.Pointer[Observer]{}
	observe := Observer(func(outcome string, took time.Duration) { b.outcomes[outcome]++ })
	observer.Store(&observe)
	b.resolver = &resolver{ctx: context.Background(), sandbox: "box", directory: d, forwarder: b.forwarder,
		observer: observer, forwards: make(chan struct{}, maxForwards)}
	return b
}

// ask sends a query by UDP.
func (b *bench) ask(t testing.TB, query *dns.Msg) *dns.Msg {
	return b.askBy(t, query, &net.UDPAddr{})
}

func (b *bench) askBy(t testing.TB, query *dns.Msg, local net.Addr) *dns.Msg {
	t.Helper()
	w := &writer{local: local}
	b.ServeDNS(w, query)
	if w.answer == nil {
		t.Fatal("no answer")
	}
	if w.answer.Id != query.Id || !w.answer.Response {
		t.Errorf("not an answer to the query: %v", w.answer)
	}
	return w.answer
}

func question(name string, kind uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
}
