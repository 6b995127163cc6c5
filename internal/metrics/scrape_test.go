package metrics

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// The sizes that a scrape is measured with.
const (
	fullFlows = 65536
	manyPorts = 10_000
)

// fullEngine has many published ports, whose counters are the kernel's.
type fullEngine struct {
	fakeEngine
	kernel *maps.Maps
}

func (e *fullEngine) PublishedPorts() ([]engine.RuleView, error) {
	counters, err := e.kernel.AllRuleCounters(manyPorts)
	if err != nil {
		return nil, err
	}
	views := make([]engine.RuleView, manyPorts)
	for i := range views {
		views[i] = engine.RuleView{
			Network:  engine.Network{Name: "bridge"},
			Endpoint: engine.Endpoint{Owner: fmt.Sprintf("container-%d", i%1000)},
			Port: engine.PublishedPort{
				Protocol: unix.IPPROTO_TCP, HostAddr: netip.IPv4Unspecified(), First: uint16(10_000 + i), Last: uint16(10_000 + i),
			},
			Counters: counters[i+1],
		}
	}
	return views, nil
}

// newFullKernel makes maps that nobody else has, with a conntrack table that is
// full.
func newFullKernel(t testing.TB) *maps.Maps {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this needs root: it makes BPF maps")
	}
	layout, err := datapath.LoadLayout()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*ebpf.Map{}
	for name, spec := range layout.Maps {
		if strings.HasPrefix(name, ".") {
			continue
		}
		m, err := ebpf.NewMap(spec)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		byName[name] = m
	}
	program, err := loader.LoadFlowTable(loader.Config{}, byName)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	fillFlows(t, maps.NewTenured(byName, 4, program))
	kernel, err := maps.New(byName, program)
	if err != nil {
		t.Fatal(err)
	}
	return kernel
}

func fillFlows(t testing.TB, table *maps.Tenured) {
	t.Helper()
	half := make([]byte, binary.Size(datapath.Flow4{}))
	for i := range uint32(fullFlows) {
		key, err := binary.Append(nil, binary.NativeEndian, datapath.FlowKey4{Src: i, Protocol: unix.IPPROTO_TCP})
		if err == nil {
			_, err = table.Put(key, half)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func newFull(t testing.TB) *Metrics {
	t.Helper()
	kernel := newFullKernel(t)
	return New(Sources{Datapath: kernel, Engine: &fullEngine{kernel: kernel}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

// A scrape of real maps shows every flow and every port.
func TestScrapeOfMany(t *testing.T) {
	t.Parallel()
	w := scrape(newFull(t))
	if n := strings.Count(w.Body.String(), "\nsluice_published_port_packets_total{"); n != manyPorts {
		t.Errorf("%d series of published ports, want %d", n, manyPorts)
	}
	var flows int
	for line := range strings.Lines(w.Body.String()) {
		_, _ = fmt.Sscanf(line, `sluice_conntrack_entries{family="ipv4",protocol="tcp"} %d`, &flows)
	}
	// Some sets are full before the others.
	if flows < fullFlows*9/10 || flows > fullFlows {
		t.Errorf("%d flows, want about %d", flows, fullFlows)
	}
}

// Scrapes do not pile up: more than a few at once are told to come back.
func TestScrapesDoNotPileUp(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	m := newFake(&fakeDatapath{hold: hold}, &fakeEngine{})
	handler := m.Handler()
	codes := make(chan int)
	for range maxScrapes + 3 {
		go func() { codes <- do(handler, http.MethodGet, "/metrics").Code }()
	}
	for range 3 {
		if code := <-codes; code != http.StatusServiceUnavailable {
			t.Errorf("status %d while others are under way", code)
		}
	}
	close(hold)
	for range maxScrapes {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("status %d", code)
		}
	}
}

// The whole scrape, and the parts of it that read the kernel. CPU time is told
// beside the time on the clock, which others on the machine stretch.
func BenchmarkScrape(b *testing.B) {
	m := newFull(b)
	benchmark(b, func() error {
		if code := scrape(m).Code; code != http.StatusOK {
			return fmt.Errorf("status %d", code)
		}
		return nil
	})
}

func BenchmarkOccupancy(b *testing.B) {
	kernel := newFullKernel(b)
	benchmark(b, func() error { _, err := kernel.Occupancy(); return err })
}

func BenchmarkRuleCounters(b *testing.B) {
	kernel := newFullKernel(b)
	benchmark(b, func() error { _, err := kernel.AllRuleCounters(manyPorts); return err })
}

func benchmark(b *testing.B, fn func() error) {
	before := cpuTime(b)
	for b.Loop() {
		if err := fn(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N)/1e6, "cpu-ms/op")
}

// cpuTime is what this process has used, in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
