package datapath_test

import (
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
)

// way is a packet on its way through a hook, of a flow that is established
// where the way has flows.
type way struct {
	name    string
	hook    datapath.Hook
	ifindex int
	frame   frame
	verdict uint32
}

// ways opens the flows and returns a packet for each way. The first is the
// floor: the shortest that a packet of IPv4 can go.
func ways(f *fixture) []way {
	notForUs := client.udp(1, hostAddrPort(22))
	notForUs.dstMAC = mustMAC("02:00:00:00:00:77")

	request := client.tcp(40000, hostAddrPort(published), syn)
	f.fromOutside(request)
	request.flags = ack
	answer := request.to(f.a.at(target)).answer(f.a.station, ack)
	outward := f.a.tcp(40000, remoteAddrPort(443), syn)
	inward := outward.from(hostAddrPort(f.masqueradePort(outward))).answer(remote, ack)
	outward.flags = ack
	f.settle()
	return []way{
		{"floor", datapath.HookUplink, f.uplink, notForUs, next},
		{"host", datapath.HookUplink, f.uplink, client.tcp(1, hostAddrPort(22), ack), next},
		{"unpublished", datapath.HookUplink, f.uplink, client.tcp(1, f.a.at(81), ack), shot},
		{"published-in", datapath.HookUplink, f.uplink, request, redirect},
		{"published-out", datapath.HookContainer, f.a.ifindex, answer, redirect},
		{"masquerade-out", datapath.HookContainer, f.a.ifindex, outward, redirect},
		{"masquerade-in", datapath.HookUplink, f.uplink, inward, redirect},
		{"neighbour", datapath.HookContainer, f.b.ifindex, f.b.udp(1, f.a.at(80)), redirect},
		{"neighbour-translated", datapath.HookContainer, f.a.ifindex, f.a.udp(1, f.b.at(80)), redirect},
	}
}

// BenchmarkPrograms reports what the programs cost per packet, by the kernel's
// own account, and as a multiple of the floor, whose packets take turns with
// those of the way.
func BenchmarkPrograms(b *testing.B) {
	f := newFixture(b, ipv4, loader.Config{Observe: true}) // as the daemon loads them
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	must(b, err)
	defer stats.Close()
	all := ways(f)
	for _, w := range all {
		b.Run(w.name, func(b *testing.B) {
			f.enter(b)
			var cost, floor meter
			for b.Loop() {
				floor.measure(f, all[0])
				cost.measure(f, w)
			}
			b.ReportMetric(0, "ns/op") // the system call's
			b.ReportMetric(cost.perRun(), "ns/packet")
			b.ReportMetric(cost.perRun()/floor.perRun(), "x-floor")
		})
	}
}

// BenchmarkConnection reports what the programs cost for a connection of TCP through
// a published port that carries a request and its answer: ten packets, of which six
// change the flow.
func BenchmarkConnection(b *testing.B) {
	f := newFixture(b, ipv4, loader.Config{Observe: true})
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	must(b, err)
	defer stats.Close()
	var setUp, carry, end meter
	port := uint16(1024)
	for b.Loop() {
		port = max(port+1, 1024)
		request := client.tcp(port, hostAddrPort(published), syn)
		answer := request.to(f.a.at(target)).answer(f.a.station, ack)
		for _, phase := range []struct {
			meter *meter
			sent  []frame
		}{
			{&setUp, []frame{request, withFlags(answer, syn|ack), withFlags(request, ack)}},
			{&carry, []frame{withFlags(request, psh|ack), answer, withFlags(answer, psh|ack), withFlags(request, ack)}},
			{&end, []frame{withFlags(request, fin|ack), withFlags(answer, fin|ack), withFlags(request, ack)}},
		} {
			for _, sent := range phase.sent {
				w := way{"", datapath.HookUplink, f.uplink, sent, redirect}
				if sent.src == f.a.addr {
					w.hook, w.ifindex = datapath.HookContainer, f.a.ifindex
				}
				phase.meter.measure(f, w)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for name, m := range map[string]*meter{"set-up": &setUp, "data": &carry, "end": &end} {
		b.ReportMetric(float64(m.runtime.Nanoseconds())/float64(b.N), "ns/"+name)
	}
}

// meter adds up what a program cost.
type meter struct {
	runtime time.Duration
	runs    uint64
}

func (m *meter) measure(f *fixture, w way) {
	program := f.program(w.hook)
	before, err := program.Stats()
	must(f.t, err)
	verdict, err := program.Run(&ebpf.RunOptions{Data: w.frame.bytes(), Context: skb{Ifindex: uint32(w.ifindex)}})
	must(f.t, err)
	if verdict != w.verdict {
		f.t.Fatalf("%s: verdict %d, want %d", w.name, int32(verdict), int32(w.verdict))
	}
	after, err := program.Stats()
	must(f.t, err)
	m.runtime += after.Runtime - before.Runtime
	m.runs += after.RunCount - before.RunCount
}

func (m *meter) perRun() float64 { return float64(m.runtime.Nanoseconds()) / float64(m.runs) }
