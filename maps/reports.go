package maps

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
)

// LeaseReports asks the programs to report dropped packets for so long from
// now on; 0 ends it. Whoever reads them renews the lease, so that the programs
// fall silent by themselves when nobody does any more.
func (m *Maps) LeaseReports(d time.Duration) error {
	until := uint64(0)
	if d > 0 {
		now, err := Uptime()
		if err != nil {
			return err
		}
		until = uint64((now + d).Nanoseconds())
	}
	return m.put("report_lease", uint32(0), until)
}

// Uptime is the datapath's clock, CLOCK_MONOTONIC.
func Uptime() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return time.Duration(now.Nano()), nil
}

// WithheldReports returns how many drops were not reported although somebody
// asked for reports, by reason, since the maps were made: the programs report a
// bounded number a second.
func (m *Maps) WithheldReports() (map[reasons.Reason]uint64, error) {
	withheld := map[reasons.Reason]uint64{}
	for _, reason := range reasons.All() {
		var perCPU []datapath.ReportBudget
		if err := m.byName["report_budgets"].Lookup(uint32(reason), &perCPU); err != nil {
			return nil, fmt.Errorf("read report_budgets: %w", err)
		}
		for _, budget := range perCPU {
			withheld[reason] += budget.Withheld
		}
	}
	return withheld, nil
}

// ReportReader reads the programs' reports of dropped packets. There must be
// one at a time: each report is read once.
type ReportReader struct{ ring *ringbuf.Reader }

// OpenReports returns a reader of the reports that nobody has read yet.
func (m *Maps) OpenReports() (*ReportReader, error) {
	ring, err := ringbuf.NewReader(m.byName["events"])
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return &ReportReader{ring}, nil
}

// Read waits for a report. After Close, which may come from another goroutine,
// it returns os.ErrClosed.
func (r *ReportReader) Read() (event datapath.DropEvent, err error) {
	record, err := r.ring.Read()
	if err != nil {
		return event, fmt.Errorf("read events: %w", err)
	}
	if _, err := binary.Decode(record.RawSample, binary.NativeEndian, &event); err != nil {
		return event, fmt.Errorf("a report of %d bytes: %w", len(record.RawSample), err)
	}
	return event, nil
}

// Close ends reading.
func (r *ReportReader) Close() error { return r.ring.Close() }
