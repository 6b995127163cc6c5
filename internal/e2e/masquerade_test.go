package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/lab"
)

const (
	flowCount   = 25000
	firstSource = 10000 // of the container's ports
	lotOfFlows  = 200   // how many questions are open at once
)

// TestManyFlowsToOneDestination covers 25,000 flows at once from one container to
// one port of one host, by the one address that the host has (RFC 4787 REQ-1 and
// REQ-3 with more clients than one range of ports serves): each has a source port
// of its own, that no socket of the host and no published port has, and keeps it.
func TestManyFlowsToOneDestination(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		l.OK("run", "-d", "--name=net00", "-p", "61100:53/udp", "-p", "2000-2999:2000-2999/udp")
		to := netip.MustParseAddrPort(port(f.far, "7"))
		l.Client.Background(selfPath, "udp-echo", to.String())
		datagram(l.Host, to.String(), "up?")
		taken := map[uint16]string{61100: "a published port"}
		for p := uint16(2000); p < 3000; p++ {
			taken[p] = "a published range"
		}
		for _, bound := range []uint16{61001, 61002, 1025} {
			taken[bound] = "a socket of the host"
			f.holdUDP(t, l, bound)
		}
		f.holdConnectedUDP(t, l, 61003, to)
		taken[61003] = "a connected socket of the host"

		m := newFlowSender(l, f, to)
		first := m.round()
		owner := map[uint16]uint16{}
		for source, translated := range first {
			if other, ok := owner[translated]; ok {
				t.Fatalf("the flows from %d and %d both leave from port %d", source, other, translated)
			}
			owner[translated] = source
			if who, ok := taken[translated]; ok {
				t.Errorf("a flow leaves from port %d, which %s has", translated, who)
			}
			if translated >= 32768 && translated <= 60999 {
				t.Errorf("a flow leaves from port %d of ip_local_port_range", translated)
			}
		}
		for source, translated := range m.round() {
			if first[source] != translated {
				t.Fatalf("the flow from %d left from port %d and now from %d", source, first[source], translated)
			}
		}
		// The host's own, in the other direction.
		for range 20 {
			datagram(l.Host, to.String(), "the host's")
		}
		// A packet tries 128 ports, and the range takes 1,000: the next one goes on.
		if got := systemInfo(l).Drops["masquerade-exhausted"]; got > 1000/128+1 {
			t.Errorf("%d packets found no port", got)
		}
	})
}

// holdUDP binds a port of the host, on every address, until the test ends.
func (f family) holdUDP(t *testing.T, l *lab.Lab, number uint16) {
	t.Helper()
	l.Host.Must(func() error {
		conn, err := net.ListenUDP(f.kind("udp"), &net.UDPAddr{Port: int(number)})
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		return err
	})
}

func (f family) holdConnectedUDP(t *testing.T, l *lab.Lab, number uint16, to netip.AddrPort) {
	t.Helper()
	l.Host.Must(func() error {
		conn, err := net.DialUDP(f.kind("udp"), &net.UDPAddr{Port: int(number)}, net.UDPAddrFromAddrPort(to))
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		return err
	})
}

// flowSender asks an echo server from many ports of the first container.
type flowSender struct {
	*tap
	family
	to  netip.AddrPort
	udp int // where a frame has its UDP header
}

func newFlowSender(l *lab.Lab, f family, to netip.AddrPort) *flowSender {
	l.Helper()
	m := &flowSender{tapIn(l, "net00"), f, to, 14 + 20}
	if f.is6() {
		m.udp = 14 + 40
	}
	return m
}

// ask sends a question from a port.
func (m *flowSender) ask(from int) {
	m.t.Helper()
	m.send(packet{srcMAC: m.mac, dstMAC: gatewayMAC, src: port(m.first, fmt.Sprint(from)), dst: m.to.String(), payload: "?"}.bytes())
}

// round asks once from every port, again from those that get no answer, and
// returns the ports that the server saw.
func (m *flowSender) round() map[uint16]uint16 {
	m.t.Helper()
	seen := map[uint16]uint16{}
	for try := 0; len(seen) < flowCount && try < 10; try++ {
		for from := firstSource; from < firstSource+flowCount; from += lotOfFlows {
			open := 0
			for port := from; port < from+lotOfFlows; port++ {
				if _, ok := seen[uint16(port)]; !ok {
					m.ask(port)
					open++
				}
			}
			m.collect(seen, open)
		}
	}
	if len(seen) != flowCount {
		m.t.Fatalf("%d of %d flows have answers", len(seen), flowCount)
	}
	return seen
}

// collect reads up to `open` answers: "192.0.2.1:PORT ?", to the port that asked.
func (m *flowSender) collect(seen map[uint16]uint16, open int) {
	m.t.Helper()
	for open > 0 {
		frame := m.receive(200 * time.Millisecond)
		if frame == nil {
			return
		}
		if len(frame) < m.udp+8 || binary.BigEndian.Uint16(frame[m.udp:]) != m.to.Port() {
			continue
		}
		address, _, _ := strings.Cut(string(frame[m.udp+8:]), " ")
		translated, err := netip.ParseAddrPort(address)
		if err != nil || translated.Addr().String() != m.host {
			m.t.Fatal(fmt.Errorf("an answer says %q: %w", frame[m.udp+8:], err))
		}
		seen[binary.BigEndian.Uint16(frame[m.udp+2:])] = translated.Port()
		open--
	}
}
