// Package monitor hands the datapath's reports of dropped packets to those who
// watch. The datapath reports, and its ring buffer is read, only while somebody
// does.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
)

// Source is where reports come from: the maps of the datapath.
type Source interface {
	// LeaseReports asks for reports for so long from now on; 0 ends it.
	LeaseReports(d time.Duration) error
	// WithheldReports counts the drops that were not reported, by reason.
	WithheldReports() (map[reasons.Reason]uint64, error)
	// OpenReports returns the only reader.
	OpenReports() (Reader, error)
	// Uptime is the clock of the events.
	Uptime() (time.Duration, error)
}

// Reader reads reports until it is closed by another goroutine.
type Reader interface {
	Read() (datapath.DropEvent, error)
	Close() error
}

// Report is one dropped packet, or says how many more there were.
type Report struct {
	Reason reasons.Reason
	Event  datapath.DropEvent // zero when NotShown is not
	// NotShown is how many further packets were dropped for the reason: the
	// datapath reports a bounded number a second, and a watcher may be slow.
	NotShown uint64
}

const (
	// interval is how often the lease is renewed and what is not shown counted.
	interval = time.Second
	lease    = 3 * interval
	// backlog is how many reports wait for a slow watcher.
	backlog = 1024
)

// Hub lets several watchers share the one ring buffer. Its methods may be
// called from any goroutine.
type Hub struct {
	source Source
	closed chan struct{}
	once   sync.Once

	sessions sync.Mutex // held while reading begins or ends
	stop     func()     // ends reading; nil while nobody watches

	mu       sync.Mutex // never held while something is waited for
	watchers map[*Watcher]bool
	broken   bool // reading has failed, and goes on for nobody
}

// NewHub returns a hub that reads nothing yet.
func NewHub(source Source) *Hub {
	return &Hub{source: source, closed: make(chan struct{}), watchers: map[*Watcher]bool{}}
}

// Close ends every watch, as if the watchers had left.
func (h *Hub) Close() { h.once.Do(func() { close(h.closed) }) }

// Watcher gets every report from its Join on.
type Watcher struct {
	hub     *Hub
	since   time.Duration // of the events' clock
	reports chan Report
	failed  chan error

	// Guarded by Hub.mu:
	withheld map[reasons.Reason]uint64 // as the source counted when it was last told
	missed   map[reasons.Reason]uint64 // reports that found no room
}

// Join begins a watch. Run must be called, and ends it.
func (h *Hub) Join() (*Watcher, error) {
	h.sessions.Lock()
	defer h.sessions.Unlock()
	since, err := h.source.Uptime()
	if err != nil {
		return nil, err
	}
	withheld, err := h.source.WithheldReports()
	if err != nil {
		return nil, err
	}
	w := &Watcher{
		hub: h, since: since, withheld: withheld, missed: map[reasons.Reason]uint64{},
		reports: make(chan Report, backlog), failed: make(chan error, 1),
	}
	if err := h.ensureReading(); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = true
	return w, nil
}

// ensureReading begins to read unless somebody has, and anew where that has failed:
// a watcher that is stuck keeps what has. It is called with Hub.sessions held.
func (h *Hub) ensureReading() (err error) {
	h.mu.Lock()
	broken := h.broken
	h.broken = false
	h.mu.Unlock()
	if broken && h.stop != nil {
		h.stop()
		h.stop = nil
	}
	if h.stop == nil {
		h.stop, err = h.read()
	}
	return err
}

// Run calls emit with every report until ctx ends, the hub is closed, or either
// emit or the reading fails; the last two are errors.
func (w *Watcher) Run(ctx context.Context, emit func(Report) error) error {
	defer w.hub.leave(w)
	for {
		select {
		case r := <-w.reports:
			if err := emit(r); err != nil {
				return err
			}
		case err := <-w.failed:
			return err
		case <-w.hub.closed:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

func (h *Hub) leave(w *Watcher) {
	h.sessions.Lock()
	defer h.sessions.Unlock()
	h.mu.Lock()
	delete(h.watchers, w)
	last := len(h.watchers) == 0
	h.mu.Unlock()
	if last && h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

// read begins to read, and returns what ends it.
func (h *Hub) read() (stop func(), err error) {
	reader, err := h.source.OpenReports()
	if err != nil {
		return nil, err
	}
	if err := h.source.LeaseReports(lease); err != nil {
		return nil, errors.Join(err, reader.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { h.deliver(ctx, reader) })
	running.Go(func() { h.renew(ctx) })
	return func() {
		cancel()
		_ = h.source.LeaseReports(0) // or it ends by itself
		_ = reader.Close()
		running.Wait()
	}, nil
}

// deliver gives each event to the watchers that were there before it.
func (h *Hub) deliver(ctx context.Context, reader Reader) {
	for {
		event, err := reader.Read()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			h.fail(err)
			return
		}
		h.mu.Lock()
		for w := range h.watchers {
			if time.Duration(event.Time) < w.since {
				continue // left over from an earlier watch
			}
			if !w.offer(Report{Reason: reasons.Reason(event.Reason), Event: event}) {
				w.missed[reasons.Reason(event.Reason)]++
			}
		}
		h.mu.Unlock()
	}
}

// offer reports whether there was room.
func (w *Watcher) offer(r Report) bool {
	select {
	case w.reports <- r:
		return true
	default:
		return false
	}
}

// renew renews the lease and tells the watchers what they do not see.
func (h *Hub) renew(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		withheld, err := h.source.WithheldReports()
		if err = errors.Join(err, h.source.LeaseReports(lease)); err != nil {
			h.fail(err)
			return
		}
		if ctx.Err() != nil {
			_ = h.source.LeaseReports(0) // stop was quicker
			return
		}
		h.mu.Lock()
		for w := range h.watchers {
			w.tellNotShown(withheld)
		}
		h.mu.Unlock()
	}
}

// tellNotShown is called with Hub.mu held. What finds no room waits for the
// next time.
func (w *Watcher) tellNotShown(withheld map[reasons.Reason]uint64) {
	for _, reason := range reasons.All() {
		n := withheld[reason]
		notShown := n - w.withheld[reason] + w.missed[reason]
		if notShown == 0 || !w.offer(Report{Reason: reason, NotShown: notShown}) {
			continue
		}
		w.withheld[reason] = n
		delete(w.missed, reason)
	}
}

func (h *Hub) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken = true
	for w := range h.watchers {
		select {
		case w.failed <- fmt.Errorf("read the reports of drops: %w", err):
		default:
		}
	}
}
