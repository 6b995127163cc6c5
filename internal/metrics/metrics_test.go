package metrics

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/maps"
)

// fakeDatapath counts what the tests can tell apart.
type fakeDatapath struct {
	err  error
	hold chan struct{} // when set, Occupancy waits for its end
}

func (f *fakeDatapath) Packets(h datapath.Hook, v datapath.Verdict) (uint64, error) {
	return uint64(h)*10 + uint64(v), f.err
}

func (f *fakeDatapath) MasqueradeRetries() (uint64, error) { return 31, f.err }

func (f *fakeDatapath) Drops(r reasons.Reason) (uint64, error) { return uint64(r) * 100, f.err }

func (f *fakeDatapath) Occupancy() (maps.Occupancy, error) {
	if f.hold != nil {
		<-f.hold
	}
	return maps.Occupancy{
		Tables: map[string]maps.Table{"flows4": {Entries: 6, Capacity: 65536}, "rules": {Entries: 2, Capacity: 16383}},
		Flows:  map[maps.FlowKind]int{{Family: 4, Protocol: unix.IPPROTO_UDP}: 6},
	}, f.err
}

type fakeEngine struct{ err error }

func (f *fakeEngine) PublishedPorts() ([]engine.RuleView, error) {
	view := func(protocol uint8, addr string, first, last uint16, owner string, packets, flows uint64) engine.RuleView {
		return engine.RuleView{
			Network:  engine.Network{Name: "bridge"},
			Endpoint: engine.Endpoint{Owner: owner},
			Port:     engine.PublishedPort{Protocol: protocol, HostAddr: netip.MustParseAddr(addr), First: first, Last: last},
			Counters: maps.RuleCounters{Packets: packets, Flows: flows},
		}
	}
	return []engine.RuleView{
		view(unix.IPPROTO_TCP, "0.0.0.0", 8080, 8080, "web", 120, 4),
		view(unix.IPPROTO_UDP, "192.0.2.1", 9000, 9999, "media", 7, 3),
	}, f.err
}

func (f *fakeEngine) AliasSelections() ([]engine.AliasView, error) {
	return []engine.AliasView{
		{Alias: engine.Alias{Name: "rr"}, Network: engine.Network{Name: "custom"}, Selections: 4000},
	}, f.err
}

func (f *fakeEngine) AddressUse() ([]engine.AddressUse, error) {
	n := engine.Network{Name: "bridge"}
	return []engine.AddressUse{
		{Network: n, Subnet: netip.MustParsePrefix("172.17.0.0/16"), Reserved: 3, Used: 2, Free: 65531},
		{Network: n, Subnet: netip.MustParsePrefix("fd00::/64"), Reserved: 2, Used: 2, Free: engine.Countless},
	}, f.err
}

func newFake(d *fakeDatapath, e *fakeEngine) *Metrics {
	return New(Sources{
		Build:    Build{Version: "v1.2", GoVersion: "go1.26", Layout: 1},
		Datapath: d,
		Engine:   e,
		Log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
}

// expect compares the metrics of the names with the text.
func expect(t *testing.T, m *Metrics, want string, names ...string) {
	t.Helper()
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func TestEngineMetrics(t *testing.T) {
	t.Parallel()
	m := newFake(&fakeDatapath{}, &fakeEngine{})
	expect(t, m, `
# HELP sluice_published_port_packets_total Packets that were translated for a published port, in both directions. A range is one series.
# TYPE sluice_published_port_packets_total counter
sluice_published_port_packets_total{container="media",host_ip="192.0.2.1",host_port="9000-9999",network="bridge",protocol="udp"} 7
sluice_published_port_packets_total{container="web",host_ip="0.0.0.0",host_port="8080",network="bridge",protocol="tcp"} 120
# HELP sluice_published_port_flows_total Flows that a published port has led to its container, those of the host's own processes included.
# TYPE sluice_published_port_flows_total counter
sluice_published_port_flows_total{container="media",host_ip="192.0.2.1",host_port="9000-9999",network="bridge",protocol="udp"} 3
sluice_published_port_flows_total{container="web",host_ip="0.0.0.0",host_port="8080",network="bridge",protocol="tcp"} 4
# HELP sluice_alias_selections_total Flows that an alias has handed out to its members in turn.
# TYPE sluice_alias_selections_total counter
sluice_alias_selections_total{alias="rr",network="custom"} 4000
# HELP sluice_ipam_addresses Addresses of a network's subnet: used by endpoints and aliases, reserved, or free. Those that are free of more than 2^32 are not counted.
# TYPE sluice_ipam_addresses gauge
sluice_ipam_addresses{family="ipv4",network="bridge",state="free"} 65531
sluice_ipam_addresses{family="ipv4",network="bridge",state="reserved"} 3
sluice_ipam_addresses{family="ipv4",network="bridge",state="used"} 2
sluice_ipam_addresses{family="ipv6",network="bridge",state="reserved"} 2
sluice_ipam_addresses{family="ipv6",network="bridge",state="used"} 2
`, "sluice_published_port_packets_total", "sluice_published_port_flows_total", "sluice_alias_selections_total", "sluice_ipam_addresses")
}

func TestDatapathMetrics(t *testing.T) {
	t.Parallel()
	m := newFake(&fakeDatapath{}, &fakeEngine{})
	expect(t, m, `
# HELP sluice_build_info Always 1; its labels say which sluice this is, built with which Go, and the layout of its pinned maps.
# TYPE sluice_build_info gauge
sluice_build_info{goversion="go1.26",layout="1",version="v1.2"} 1
# HELP sluice_masquerade_retries_total Source ports that masquerade has tried and found taken.
# TYPE sluice_masquerade_retries_total counter
sluice_masquerade_retries_total 31
# HELP sluice_packets_total Packets that the programs have seen, by hook and by verdict.
# TYPE sluice_packets_total counter
sluice_packets_total{hook="bridge",verdict="drop"} 22
sluice_packets_total{hook="bridge",verdict="pass"} 20
sluice_packets_total{hook="bridge",verdict="redirect"} 21
sluice_packets_total{hook="container",verdict="drop"} 2
sluice_packets_total{hook="container",verdict="pass"} 0
sluice_packets_total{hook="container",verdict="redirect"} 1
sluice_packets_total{hook="uplink",verdict="drop"} 12
sluice_packets_total{hook="uplink",verdict="pass"} 10
sluice_packets_total{hook="uplink",verdict="redirect"} 11
# HELP sluice_conntrack_entries Entries of the conntrack table, two per flow; those that have timed out count until their place is taken.
# TYPE sluice_conntrack_entries gauge
sluice_conntrack_entries{family="ipv4",protocol="icmp"} 0
sluice_conntrack_entries{family="ipv4",protocol="tcp"} 0
sluice_conntrack_entries{family="ipv4",protocol="udp"} 6
sluice_conntrack_entries{family="ipv6",protocol="icmpv6"} 0
sluice_conntrack_entries{family="ipv6",protocol="tcp"} 0
sluice_conntrack_entries{family="ipv6",protocol="udp"} 0
# HELP sluice_map_capacity Entries that a BPF map has room for.
# TYPE sluice_map_capacity gauge
sluice_map_capacity{map="flows4"} 65536
sluice_map_capacity{map="rules"} 16383
# HELP sluice_map_entries Entries of a BPF map.
# TYPE sluice_map_entries gauge
sluice_map_entries{map="flows4"} 6
sluice_map_entries{map="rules"} 2
`, "sluice_build_info", "sluice_masquerade_retries_total", "sluice_packets_total", "sluice_conntrack_entries", "sluice_map_entries", "sluice_map_capacity")
	expectSample(t, scrape(m), `sluice_drops_total{reason="malformed"} 100`)
	if n, err := testutil.GatherAndCount(m.registry, "sluice_drops_total"); err != nil || n != len(reasons.All()) {
		t.Errorf("%d drop reasons, %v, want %d", n, err, len(reasons.All()))
	}
}

func TestDNSMetrics(t *testing.T) {
	t.Parallel()
	m := newFake(&fakeDatapath{}, &fakeEngine{})
	if strings.Contains(scrape(m).Body.String(), "sluice_dns") {
		t.Error("DNS is measured where nobody serves it")
	}
	observe := m.DNSObserver("answered", "failed")
	observe("answered", 60*time.Microsecond)
	body := scrape(m)
	for _, sample := range []string{
		`sluice_dns_request_duration_seconds_bucket{outcome="answered",le="5e-05"} 0`,
		`sluice_dns_request_duration_seconds_bucket{outcome="answered",le="0.0001"} 1`,
		`sluice_dns_request_duration_seconds_count{outcome="answered"} 1`,
		`sluice_dns_request_duration_seconds_count{outcome="failed"} 0`,
	} {
		expectSample(t, body, sample)
	}
}

func do(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func scrape(m *Metrics) *httptest.ResponseRecorder {
	return do(m.Handler(), http.MethodGet, "/metrics")
}

func expectSample(t *testing.T, w *httptest.ResponseRecorder, line string) {
	t.Helper()
	if !strings.Contains(w.Body.String(), line+"\n") {
		t.Errorf("no line %s in\n%s", line, w.Body)
	}
}

// What fails takes nothing else with it, and can be seen.
func TestFailure(t *testing.T) {
	t.Parallel()
	m := newFake(&fakeDatapath{err: errors.New("no map")}, &fakeEngine{})
	w := scrape(m)
	if w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
	expectSample(t, w, `sluice_alias_selections_total{alias="rr",network="custom"} 4000`)
	if strings.Contains(w.Body.String(), "sluice_drops_total") {
		t.Error("counters that could not be read are shown")
	}
	expectSample(t, scrape(m), `promhttp_metric_handler_errors_total{cause="gathering"} 1`)

	m = newFake(&fakeDatapath{}, &fakeEngine{err: errors.New("no store")})
	expectSample(t, scrape(m), `sluice_drops_total{reason="malformed"} 100`)
}

func TestNothingButMetrics(t *testing.T) {
	t.Parallel()
	m := newFake(&fakeDatapath{}, &fakeEngine{})
	for path, want := range map[string]int{"/": 404, "/debug/pprof/": 404, "/debug/vars": 404, "/metrics/x": 404} {
		if got := do(m.Handler(), http.MethodGet, path).Code; got != want {
			t.Errorf("GET %s: status %d, want %d", path, got, want)
		}
	}
	if got := do(m.Handler(), http.MethodPost, "/metrics").Code; got != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", got)
	}
}
