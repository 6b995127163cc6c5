package datapath_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/sluice-net/sluice/loader"
)

// conversations are steps after which there are flows of every kind.
func (w *world) conversations() (all []sends) {
	d, host := w.places["d"].station, station{gatewayMAC, vipMAC, gatewayOne}
	fragment, _, _ := w.a.udp(40001, remoteAddrPort(53)).fragments()
	all = []sends{
		{from: "a", frame: w.a.tcp(40000, remoteAddrPort(443), syn)},
		{from: "a", frame: w.a.udp(40000, remoteAddrPort(53))},
		{from: "a", frame: w.a.echo(1, remoteAddr)},
		{from: "a", frame: fragment},
		{from: "outside", frame: client.tcp(40000, hostAddrPort(published), syn)},
		{from: "outside", frame: client.udp(40000, hostAddrPort(published))},
		{from: "c", frame: w.c.tcp(40000, hostAddrPort(published), syn)},
		{from: "a", frame: w.a.tcp(40001, hostAddrPort(published), syn)}, // to itself
		{from: "d", frame: d.udp(40000, vipAddrPort(53))},
		{from: "d", frame: d.tcp(40000, vipAddrPort(80), syn)},
		{from: "d", frame: d.echo(2, vipAddr)},
		{from: "host", frame: host.tcp(40000, vipAddrPort(80), syn)},
		{from: "host", frame: loopback.udp(40000, w.a.at(target))},
	}
	for _, s := range all[:len(all):len(all)] {
		f := s.frame
		if s.frame.src, s.frame.dst = six(f.src), six(f.dst); f.icmp != 0 {
			s.frame.protocol, s.frame.icmp = layers.IPProtocolICMPv6, layers.ICMPv6TypeEchoRequest
		}
		all = append(all, s)
	}
	return all
}

// seeds are frames of conversations, answers to them, errors about them, and
// what leads nowhere; and a random sequence, which finds little of what it is
// about and therefore goes other ways. The flows of the conversations stay.
func (w *world) seeds() (all []sends) {
	w.t.Helper()
	for err := errTick; errors.Is(err, errTick); {
		w.reset()
		all, err = w.converseAll(newGenerator(w, 1))
		if !errors.Is(err, errTick) {
			must(w.t, err)
		}
	}
	g := newGenerator(w, 2)
	for range 300 {
		if s, ok := g.next().(sends); ok {
			all = append(all, s)
		}
	}
	return all
}

// converseAll opens every flow; every other one is answered and taken up again
// after a while, so that it leaves the nursery.
func (w *world) converseAll(g *generator) (all []sends, err error) {
	var proved []sends
	for i, s := range w.conversations() {
		if err := s.do(w); err != nil {
			return nil, err
		}
		all = append(all, s)
		if w.last.at == "" {
			continue
		}
		answer := g.answer(w.last)
		all = append(all, answer, g.complain(w.last))
		if i%2 == 0 {
			proved = append(proved, s, answer)
		}
	}
	for _, wait := range []uint32{0, 3} {
		for _, s := range append([]step{ages{wait}}, steps(proved)...) {
			if err := s.do(w); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func steps(of []sends) (all []step) {
	for _, s := range of {
		s.frame.flags &^= rst | fin
		all = append(all, s)
	}
	return all
}

// FuzzPackets sends arbitrary bytes into each tc program, where there are flows
// of every kind, and compares what becomes of them with the model: verdict,
// bytes, checksums, counters and both halves of every flow. The place tells the
// hook; gso is the payload of a segment of a packet that is to be cut.
func FuzzPackets(f *testing.F) {
	w := newWorld(f, loader.Config{})
	for _, s := range w.seeds() {
		f.Add(byte(slices.Index(allPlaces, s.from)), uint16(s.gso), s.raw())
	}
	beginning := w.snapshot()
	inNamespace := w.resident(f)
	f.Fuzz(func(t *testing.T, place byte, gso uint16, raw []byte) {
		if int(place) >= len(allPlaces) || !testRunTakes(raw) {
			return
		}
		err := inNamespace(t, func() error {
			w.restore(beginning)
			err := w.send(sends{from: allPlaces[place], gso: int(gso), summed: len(raw)%2 == 0}, raw)
			if err != nil {
				w.adoptCounters() // so that it fails once
			}
			return err
		})
		if err != nil && !errors.Is(err, errTick) {
			t.Fatal(err)
		}
	})
}

// testRunTakes says whether BPF_PROG_TEST_RUN accepts a frame: it wants an
// Ethernet header and, for IP, the whole IP header (net/bpf/test_run.c), and
// everything in one page.
func testRunTakes(raw []byte) bool {
	if len(raw) < 15 || len(raw) > 3500 {
		return false
	}
	switch {
	case raw[12] == 0x08 && raw[13] == 0x00:
		return len(raw) >= 14+20
	case raw[12] == 0x86 && raw[13] == 0xdd:
		return len(raw) >= 14+40
	}
	return true
}
