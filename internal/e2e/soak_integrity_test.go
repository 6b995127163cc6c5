package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"testing"
)

var (
	soakStream    = flag.Uint64("soak.stream", 8e6, "bytes that the soak `integrity` streams each way by every path")
	soakDatagrams = flag.Int("soak.datagrams", 1e6, "bytes that it sends each way in datagrams")
)

// soakIntegrity exchanges bytes each way at once, by every way that packets take
// through us and by one without us, on devices of several kinds, and compares
// what came with what was sent. Nobody may find a checksum wrong, we drop nothing
// but what is too big, and TCP loses nothing else.
func soakIntegrity(t *testing.T, seed uint64) {
	for _, w := range wires {
		for _, f := range exchangeFamilies {
			t.Run(f.name+", "+w.name, func(t *testing.T) {
				t.Parallel()
				x := newIntegrityLab(t, f)
				w.set(x)
				x.counted = x.counters()
				for _, way := range x.ways() {
					x.exchangeEverything(way, w, seed)
				}
			})
		}
	}
}

func (x *integrityLab) exchangeEverything(way way, w wire, seed uint64) {
	x.Helper()
	e := &exchange{integrityLab: x, way: way, mtu: 1500}
	if way.wired {
		e.mtu, e.drops = w.mtu(x.family), w.drops
	}
	e.awaitServer()
	e.stream(*soakStream, seed)
	segment := e.mtu - x.family.headers
	e.datagrams("datagrams", datagramOrder{Bytes: *soakDatagrams, Seed: seed})
	e.datagrams("segments", datagramOrder{Bytes: *soakDatagrams, Seed: seed, Segment: segment})
	e.datagrams("segments, GRO", datagramOrder{Bytes: *soakDatagrams, Seed: seed, Segment: segment, GRO: true})
}

// exchange is one by one way.
type exchange struct {
	*integrityLab
	way   way
	mtu   int      // of the path
	drops []string // why we may drop packets
	what  string
}

func (e *exchange) errorf(format string, args ...any) {
	e.Helper()
	e.Errorf("%s, %s: %s", e.way.name, e.what, fmt.Sprintf(format, args...))
}

// awaitServer waits until a connection finds the server.
func (e *exchange) awaitServer() {
	e.Helper()
	e.Host.Eventually("a connection to "+e.way.addr, func() error {
		if r := e.way.run("tcp-peer", e.way.addr); r.Code != 0 {
			return fmt.Errorf("%s", r.Stderr)
		}
		return nil
	})
}

// run runs a client to its end, and returns what has been counted since the one
// before.
func (e *exchange) run(what string, result any, program string, args ...string) (rise pathCounters, ok bool) {
	e.Helper()
	e.what = what
	e.forgetMTUs()
	r := e.way.run(program, append([]string{e.way.addr}, args...)...)
	now := e.counters()
	rise, e.counted = now.since(e.counted), now
	e.expectNothingWrong(rise)
	if r.Code != 0 {
		e.errorf("%s", r.Stderr)
		return rise, false
	}
	if err := json.Unmarshal([]byte(r.Stdout), result); err != nil {
		e.errorf("%v: %s", err, r.Stdout)
		return rise, false
	}
	return rise, true
}

// expectNothingWrong covers what may not happen to a packet by any way.
func (e *exchange) expectNothingWrong(rise pathCounters) {
	e.Helper()
	for reason, n := range rise.drops {
		if !slices.Contains(e.drops, reason) {
			e.errorf("we dropped %d packets: %s", n, reason)
		}
	}
	if len(rise.errors) > 0 {
		e.errorf("errors: %s", named(rise.errors))
	}
}

func (e *exchange) stream(bytes, seed uint64) {
	e.Helper()
	var r streamResult
	rise, ok := e.run("TCP", &r, "stream", fmt.Sprint(bytes), fmt.Sprint(seed))
	if !ok {
		return
	}
	if r.Client.Sent != r.Server.Received || r.Server.Sent != r.Client.Received {
		e.errorf("what came is not what was sent: %+v", r)
	}
	up := int(r.Client.SegmentsSent) - int(r.Server.SegmentsCame)
	down := int(r.Server.SegmentsSent) - int(r.Client.SegmentsCame)
	explained := rise.tooBig + rise.queueFull + rise.drops["mtu-exceeded"]
	if (up > 0 || down > 0) && explained == 0 {
		e.errorf("lost segments: %d of the client's, %d of the server's", up, down)
	}
	if e.way.wired && (int(r.Client.MTU) != e.mtu || int(r.Server.MTU) != e.mtu) {
		e.errorf("the path's MTU is %d for the client and %d for the server, want %d", r.Client.MTU, r.Server.MTU, e.mtu)
	}
	e.report(2*int(bytes), r.Seconds, r.Client.User+r.Server.User, r.Client.System+r.Server.System, rise,
		fmt.Sprintf("sent again %d+%d, came twice %d+%d, lost %d+%d", r.Client.SentAgain, r.Server.SentAgain,
			r.Client.CameTwice, r.Server.CameTwice, up, down))
}

func (e *exchange) datagrams(what string, order datagramOrder) {
	e.Helper()
	text, err := json.Marshal(order)
	if err != nil {
		e.Fatal(err)
	}
	var r datagramsResult
	rise, ok := e.run(what, &r, "datagrams", string(text))
	if !ok {
		return
	}
	if r.Client.Sent != r.Server.Received || r.Server.Sent != r.Client.Received {
		e.errorf("what came is not what was sent: %+v", r)
	}
	e.report(2*order.Bytes, r.Seconds, r.Client.User+r.Server.User, r.Client.System+r.Server.System, rise,
		fmt.Sprintf("%d+%d datagrams", r.Client.Sent.Datagrams, r.Server.Sent.Datagrams))
}

// report prints the figures of an exchange; timings fail no test.
func (e *exchange) report(bytes int, seconds, user, system float64, rise pathCounters, more string) {
	e.Helper()
	e.Logf("%-25s %-14s %11d bytes %6.2f s %6.2f Gbit/s, CPU %5.2f s user %5.2f s system, %s; too big for a router %d, queue full %d, drops: %s",
		e.way.name, e.what, bytes, seconds, float64(bytes)*8/1e9/seconds, user, system, more, rise.tooBig, rise.queueFull, named(rise.drops))
}
