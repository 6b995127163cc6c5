package datapath_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// reports returns the events that are in the ring buffer.
func (f *fixture) reports() (all []datapath.DropEvent) {
	f.t.Helper()
	records, err := drain(f.loader.Maps()["events"])
	must(f.t, err)
	for _, raw := range records {
		var event datapath.DropEvent
		must(f.t, binary.Read(bytes.NewReader(raw), binary.NativeEndian, &event))
		all = append(all, event)
	}
	return all
}

// TestReports covers the ring buffer: while somebody watches every drop is in
// it, and nothing else.
func TestReports(t *testing.T) {
	withFixtures(t, loader.Config{Observe: true}, func(t *testing.T, f *fixture) {
		must(t, f.maps.LeaseReports(time.Minute))
		before, err := maps.Uptime()
		must(t, err)
		f.fromOutside(f.client.tcp(1, at(f.host, published), syn))
		f.fromOutside(f.client.tcp(1, at(f.host, 22), syn))
		long, short := f.client.udp(1, f.a.at(53)), f.b.udp(1, at(f.nobody, 53))
		long.payload = bytes.Repeat([]byte("0123456789"), 20)
		f.fromOutside(long)
		f.fromContainer(f.b, short)

		after, err := maps.Uptime()
		must(t, err)
		got := f.reports()
		want := []struct {
			sent    frame
			reason  reasons.Reason
			hook    datapath.Hook
			ifindex int
		}{
			{long, reasons.Unpublished, datapath.HookUplink, f.uplink},
			{short, reasons.NoEndpoint, datapath.HookContainer, f.b.ifindex},
		}
		if len(got) != len(want) {
			t.Fatalf("%d events, want %d", len(got), len(want))
		}
		for i, want := range want {
			if at := time.Duration(got[i].Time); at < before || at > after {
				t.Errorf("the event's time is %v, it was sent between %v and %v", at, before, after)
			}
			raw := want.sent.bytes()
			event := datapath.DropEvent{
				Time: got[i].Time, Ifindex: uint32(want.ifindex), Length: uint32(len(raw)),
				Reason: uint16(want.reason), Hook: uint8(want.hook), Captured: uint8(min(len(raw), 96)), Link: 14,
			}
			copy(event.Data[:], raw)
			expectEqual(t, "event", got[i], event)
		}
	})
}

// TestNoReportsUnlessAsked covers programs that nobody watches, that nobody
// watches any more, and those without `observe`.
func TestNoReportsUnlessAsked(t *testing.T) {
	t.Parallel()
	for name, lease := range map[string][]time.Duration{
		"never asked": nil, "asked in the past": {time.Nanosecond}, "taken back": {time.Minute, 0}, "not observing": {time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, ipv4, loader.Config{Observe: name != "not observing"})
			for _, d := range lease {
				must(t, f.maps.LeaseReports(d))
			}
			f.expectDrop(datapath.HookUplink, skb{Ifindex: uint32(f.uplink)}, client.udp(1, f.a.at(53)).bytes(), reasons.Unpublished)
			expectEqual(t, "reports", len(f.reports()), 0)
			expectEqual(t, "withheld", f.withheld(reasons.Unpublished), uint64(0))
		})
	}
}

func (f *fixture) withheld(reason reasons.Reason) uint64 {
	f.t.Helper()
	withheld, err := f.maps.WithheldReports()
	must(f.t, err)
	return withheld[reason]
}

// TestAFloodOfDropsIsNotOneOfReports sends more drops for one reason than are
// reported in a second: the others are counted, and another reason still has
// its own reports.
func TestAFloodOfDropsIsNotOneOfReports(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv4, loader.Config{Observe: true})
	stayOnOneCPU(t) // each has a budget of its own
	must(t, f.maps.LeaseReports(time.Minute))
	const sent = 20 * datapath.ReportsPerSecond
	begin := time.Now()
	_, err := f.program(datapath.HookUplink).Run(&ebpf.RunOptions{
		Data: client.udp(1, f.a.at(53)).bytes(), Context: skb{Ifindex: uint32(f.uplink)}, Repeat: sent,
	})
	must(t, err)
	seconds := int(time.Since(begin).Seconds()) + 2 // that the packets may have been sent in
	got := len(f.reports())
	if got < datapath.ReportsPerSecond || got > datapath.ReportsPerSecond*seconds {
		t.Errorf("%d reports in %d seconds", got, seconds)
	}
	expectEqual(t, "withheld", f.withheld(reasons.Unpublished), sent-uint64(got))
	expectEqual(t, "drops", f.drops()[reasons.Unpublished], uint64(sent))

	f.fromContainer(f.b, f.b.udp(1, at(f.nobody, 53)))
	if after := f.reports(); len(after) != 1 || after[0].Reason != uint16(reasons.NoEndpoint) {
		t.Errorf("behind the flood: %+v", after)
	}
}

// stayOnOneCPU keeps the test's thread, which ends with it, on the first that it may use.
func stayOnOneCPU(t *testing.T) {
	t.Helper()
	var may, first unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &may))
	for cpu := 0; first.Count() == 0; cpu++ {
		if may.IsSet(cpu) {
			first.Set(cpu)
		}
	}
	must(t, unix.SchedSetaffinity(0, &first))
}

// TestFullRingIsCounted covers drops for which nobody makes room.
func TestFullRingIsCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv4, loader.Config{Observe: true})
	must(t, f.maps.LeaseReports(time.Minute))
	room := int(f.loader.Maps()["events"].MaxEntries()) / 128 // an event and its header
	sent := uint64(0)
	for f.withheld(reasons.Unpublished) == 0 || sent < uint64(room) {
		if sent > 10*uint64(room) {
			t.Fatalf("%d drops, and none is withheld", sent)
		}
		f.refill(reasons.Unpublished)
		_, err := f.program(datapath.HookUplink).Run(&ebpf.RunOptions{
			Data: client.udp(1, f.a.at(53)).bytes(), Context: skb{Ifindex: uint32(f.uplink)}, Repeat: datapath.ReportsPerSecond / 2,
		})
		must(t, err)
		sent += datapath.ReportsPerSecond / 2
	}
	withheld := f.withheld(reasons.Unpublished)
	expectEqual(t, "reports", uint64(len(f.reports())), sent-withheld)
}

// refill gives every CPU a new second for a reason.
func (f *fixture) refill(reason reasons.Reason) {
	f.t.Helper()
	var budgets []datapath.ReportBudget
	table := f.loader.Maps()["report_budgets"]
	must(f.t, table.Lookup(uint32(reason), &budgets))
	for i := range budgets {
		budgets[i].Second = 0
	}
	must(f.t, table.Put(uint32(reason), budgets))
}

// TestDryRunReportsWithoutWriting covers programs that trace: their reports
// come without a budget, which would be a write.
func TestDryRunReportsWithoutWriting(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv4, loader.Config{Observe: true, DryRun: true})
	must(t, f.maps.LeaseReports(time.Minute))
	f.fromOutside(client.udp(1, f.a.at(53)))
	expectEqual(t, "reports", len(f.reports()), 1)
	var budgets []datapath.ReportBudget
	must(t, f.loader.Maps()["report_budgets"].Lookup(uint32(reasons.Unpublished), &budgets))
	for _, b := range budgets {
		expectEqual(t, "budget", b, datapath.ReportBudget{})
	}
}
