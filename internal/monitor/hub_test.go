package monitor

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
)

// fake is a datapath whose drops the test makes.
type fake struct {
	mu       sync.Mutex
	until    time.Time
	withheld map[reasons.Reason]uint64
	readers  int // that are open
	opened   int // that ever were
	events   chan datapath.DropEvent
	broken   chan error
}

var boot = time.Now()

func newFake() *fake {
	return &fake{withheld: map[reasons.Reason]uint64{}, events: make(chan datapath.DropEvent, 10*backlog), broken: make(chan error, 1)}
}

func (f *fake) LeaseReports(d time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until = time.Now().Add(d)
	return nil
}

func (f *fake) leased() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Before(f.until)
}

func (f *fake) withhold(reason reasons.Reason, n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.withheld[reason] += n
}

func (f *fake) WithheldReports() (map[reasons.Reason]uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[reasons.Reason]uint64{}
	for reason, n := range f.withheld {
		all[reason] = n
	}
	return all, nil
}

func (f *fake) Uptime() (time.Duration, error) { return time.Since(boot), nil }

// drop is a packet that is dropped now, which is reported if somebody watches.
func (f *fake) drop(reason reasons.Reason) {
	if f.leased() {
		f.events <- datapath.DropEvent{Reason: uint16(reason), Time: uint64(time.Since(boot))}
	}
}

type fakeReader struct {
	f      *fake
	closed chan struct{}
}

func (f *fake) OpenReports() (Reader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers++
	f.opened++
	return &fakeReader{f, make(chan struct{})}, nil
}

func (r *fakeReader) Read() (datapath.DropEvent, error) {
	select {
	case e := <-r.f.events:
		return e, nil
	case err := <-r.f.broken:
		return datapath.DropEvent{}, err
	case <-r.closed:
		return datapath.DropEvent{}, os.ErrClosed
	}
}

func (r *fakeReader) Close() error {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	r.f.readers--
	close(r.closed)
	return nil
}

// watch is a watch under way and what it saw.
type watch struct {
	mu   sync.Mutex
	seen []Report
	end  context.CancelFunc
	err  chan error
}

func begin(t *testing.T, h *Hub) *watch {
	t.Helper()
	w, err := h.Join()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	out := &watch{end: cancel, err: make(chan error, 1)}
	go func() {
		out.err <- w.Run(ctx, func(r Report) error {
			out.mu.Lock()
			defer out.mu.Unlock()
			out.seen = append(out.seen, r)
			return nil
		})
	}()
	return out
}

// expect asserts what was shown and what was said to be not, by reason.
func (w *watch) expect(t *testing.T, who string, shown, notShown map[reasons.Reason]uint64) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	gotShown, gotNot := map[reasons.Reason]uint64{}, map[reasons.Reason]uint64{}
	for _, r := range w.seen {
		if r.NotShown > 0 {
			gotNot[r.Reason] += r.NotShown
		} else {
			gotShown[r.Reason]++
		}
	}
	for _, reason := range reasons.All() {
		if gotShown[reason] != shown[reason] || gotNot[reason] != notShown[reason] {
			t.Errorf("%s: %d packets of %s, and %d not shown; want %d and %d",
				who, gotShown[reason], reason, gotNot[reason], shown[reason], notShown[reason])
		}
	}
}

type counts = map[reasons.Reason]uint64

func TestWatchersShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		h := NewHub(f)
		f.drop(reasons.Martian) // nobody watches
		a := begin(t, h)
		f.drop(reasons.Martian)
		a.expect(t, "a", counts{reasons.Martian: 1}, nil)
		b := begin(t, h)
		time.Sleep(time.Minute) // the lease is renewed
		f.drop(reasons.NoRoute)
		a.expect(t, "a", counts{reasons.Martian: 1, reasons.NoRoute: 1}, nil)
		b.expect(t, "b", counts{reasons.NoRoute: 1}, nil)

		a.end()
		if err := <-a.err; err != nil {
			t.Error(err)
		}
		f.drop(reasons.NoRoute)
		a.expect(t, "a, gone", counts{reasons.Martian: 1, reasons.NoRoute: 1}, nil)
		b.expect(t, "b alone", counts{reasons.NoRoute: 2}, nil)
		b.end()
		<-b.err
		synctest.Wait()
		if f.leased() || f.readers != 0 || f.opened != 1 {
			t.Errorf("leased %v, %d readers open, %d opened", f.leased(), f.readers, f.opened)
		}

		f.events <- datapath.DropEvent{Reason: uint16(reasons.Martian), Time: uint64(time.Since(boot))} // left in the ring
		time.Sleep(time.Second)
		c := begin(t, h)
		f.drop(reasons.NoRoute)
		c.expect(t, "c", counts{reasons.NoRoute: 1}, nil)
		h.Close()
		if err := <-c.err; err != nil {
			t.Error(err)
		}
	})
}

// TestNotShown covers drops that the datapath withheld, also before a watcher
// came, and those that a slow watcher had no room for.
func TestNotShown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		h := NewHub(f)
		f.withhold(reasons.Martian, 100)
		a := begin(t, h)
		slow, err := h.Join()
		if err != nil {
			t.Fatal(err)
		}
		f.withhold(reasons.Martian, 10)
		time.Sleep(2 * time.Second)
		a.expect(t, "a", nil, counts{reasons.Martian: 10})
		b := begin(t, h)
		f.withhold(reasons.Martian, 5)
		time.Sleep(2 * time.Second)
		a.expect(t, "a", nil, counts{reasons.Martian: 15})
		b.expect(t, "b", nil, counts{reasons.Martian: 5})

		const sent = 2 * backlog
		for range sent {
			f.drop(reasons.NoRoute)
			synctest.Wait() // a and b are quick
		}
		a.expect(t, "a", counts{reasons.NoRoute: sent}, counts{reasons.Martian: 15})
		ctx, cancel := context.WithCancel(t.Context())
		var shown, notShown uint64
		ended := make(chan error)
		go func() {
			ended <- slow.Run(ctx, func(r Report) error {
				if r.Reason == reasons.NoRoute && r.NotShown == 0 {
					shown++
				} else if r.Reason == reasons.NoRoute {
					notShown += r.NotShown
				}
				return nil
			})
		}()
		time.Sleep(2 * time.Second)
		cancel()
		<-ended
		if shown == 0 || notShown == 0 || shown+notShown != sent {
			t.Errorf("slow: %d shown, %d not", shown, notShown)
		}
		h.Close()
		<-a.err
		<-b.err
	})
}

func TestFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		h := NewHub(f)
		w, err := h.Join()
		if err != nil {
			t.Fatal(err)
		}
		gone := errors.New("nobody reads")
		f.drop(reasons.Martian)
		if err := w.Run(t.Context(), func(Report) error { return gone }); !errors.Is(err, gone) {
			t.Error(err)
		}
		a := begin(t, h)
		f.broken <- os.ErrDeadlineExceeded
		if err := <-a.err; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		b := begin(t, h) // reading begins anew
		f.drop(reasons.NoRoute)
		b.expect(t, "b", counts{reasons.NoRoute: 1}, nil)
		stuck, err := h.Join() // by a client that reads nothing, it does not leave
		if err != nil {
			t.Fatal(err)
		}
		f.broken <- os.ErrDeadlineExceeded
		<-b.err
		c := begin(t, h)
		f.drop(reasons.NoRoute)
		c.expect(t, "c", counts{reasons.NoRoute: 1}, nil)
		h.Close()
		<-c.err
		_ = stuck.Run(t.Context(), func(Report) error { return nil })
	})
}
