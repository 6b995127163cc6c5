package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

// metricsAddress is where a daemon serves /metrics when nobody says anything. Package
// metrics is not imported for it: a program that containers run, which is this
// binary, would begin with Prometheus' inventory of the runtime.
const metricsAddress = "127.0.0.1:9477"

// curl gets a page from the host itself.
func curl(l *lab.Lab, url string) string {
	l.Helper()
	return l.Host.Output("curl", "-sS", "--fail-with-body", "--max-time", "10", url)
}

// startPrometheus starts a real Prometheus in the host that scrapes the daemon
// every second and keeps what it has in files of its own.
func startPrometheus(l *lab.Lab) {
	l.Helper()
	dir := l.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs: [{job_name: sluice, static_configs: [{targets: ['%s']}]}]\n", metricsAddress)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		l.Fatal(err)
	}
	l.Host.Background("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:9090", "--log.level=warn")
}

// query asks Prometheus for the value of an expression that has one.
func query(l *lab.Lab, expression string) (float64, error) {
	r := l.Host.Run("curl", "-sS", "--max-time", "10", "http://127.0.0.1:9090/api/v1/query?query="+url.QueryEscape(expression))
	var answer struct {
		Status string
		Error  string
		Data   struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal([]byte(r.Stdout), &answer); err != nil {
		return 0, fmt.Errorf("%s: %q%s", expression, r.Stdout, r.Stderr)
	}
	if answer.Status != "success" || len(answer.Data.Result) != 1 {
		return 0, fmt.Errorf("%s: %s", expression, r.Stdout)
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	return strconv.ParseFloat(text, 64)
}

// TestPrometheus covers a real Prometheus that scrapes the daemon, before and
// after there is traffic of every kind that is measured.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	startPrometheus(l)
	eventually := func(expression string, want float64) {
		t.Helper()
		l.Host.Eventually(expression, func() error {
			got, err := query(l, expression)
			if err == nil && got != want {
				err = fmt.Errorf("got %v, want %v", got, want)
			}
			return err
		})
	}
	eventually(`up{job="sluice"}`, 1)
	eventually(`sluice_build_info`, 1)
	eventually(`sum(sluice_drops_total)`, 0)
	eventually(`sum(sluice_ipam_addresses{network="bridge"})`, 65536)
	eventually(`sluice_map_capacity{map="flows4"}`, 131072)

	l.OK("network", "create", "--subnet=172.20.0.0/24", "custombridge")
	runServer(l, "web", "tcp-echo", ":80", "-p", "8080:80", "-p", "7000-7099:80-179", "--network=custombridge")
	runServer(l, "m0", "member", ":80", "--net=custombridge", "--net-alias=rr")
	for i := range 2 { // directly: what is refused is a flow, too
		greeting(l.Host, memberAddr(i)+":80")
	}
	for range 5 {
		greeting(l.Client, lab.HostAddr+":8080")
	}
	greeting(l.Client, lab.HostAddr+":7000")
	greetingInside(l, "web", memberAddr(1)+":80")
	for range 3 {
		inside(l, "web", "tcp-ask", vip(l, "rr")+":80")
	}
	l.Client.Run(selfPath, "tcp-ask", "172.20.0.2:80") // there is no way to it

	const port = `sluice_published_port_%s_total{protocol="tcp",host_ip="0.0.0.0",host_port="%s",container="web",network="custombridge"}`
	eventually(fmt.Sprintf(port, "flows", "8080"), 5)
	eventually(fmt.Sprintf(port, "packets", "8080"), float64(natTotal(l, "8080")))
	eventually(fmt.Sprintf(port, "flows", "7000-7099"), 1)
	eventually(`count(sluice_published_port_packets_total)`, 2) // a range is one
	eventually(`sluice_alias_selections_total{network="custombridge",alias="rr"}`, 3)
	eventually(`sluice_conntrack_entries{family="ipv4",protocol="tcp"}`, 2*(5+1+3))
	eventually(`sluice_map_entries{map="nursery4"}`, 2*(5+1+3))
	eventually(`sluice_map_entries{map="endpoints4"}`, 2)
	eventually(`sluice_ipam_addresses{network="custombridge",state="used"}`, 3) // two containers, one alias
	eventually(`sluice_packets_total{hook="uplink",verdict="redirect"} > bool 20`, 1)

	l.OK("rm", "-f", "web")
	eventually(`absent(sluice_published_port_packets_total)`, 1)
	eventually(`sluice_ipam_addresses{network="custombridge",state="used"}`, 2)
}

// natTotal is what `sluice nat` has counted of a published port.
func natTotal(l *lab.Lab, ports string) uint64 {
	l.Helper()
	for _, rule := range natRules(l) {
		if rule.Kind == "publish" && rule.Ports == ports {
			return rule.TotalPackets
		}
	}
	l.Fatalf("no published port %s", ports)
	return 0
}

// TestPromtoolHasNothingToSay covers the form of the page, from a daemon whose
// counters all have series.
func TestPromtoolHasNothingToSay(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("network", "create", "custombridge")
	l.OK("run", "-d", "--name=web", "-p", "8080:80", "--net=custombridge", "--net-alias=rr")
	page := curl(l, "http://"+metricsAddress+"/metrics") + "\n"
	for _, name := range []string{"sluice_build_info", "sluice_published_port_packets_total", "go_goroutines", "process_open_fds"} {
		if !strings.Contains(page, "\n"+name) {
			t.Errorf("no %s", name)
		}
	}
	if r := l.Host.RunInput(page, "promtool", "check", "metrics"); r.Code != 0 || r.Stdout+r.Stderr != "" {
		t.Errorf("promtool: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}

// TestMetricsAddress covers addresses that are taken, elsewhere or none at all,
// and then another one, and none.
func TestMetricsAddress(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	refused := func(what, address string) {
		t.Helper()
		r := l.Sluice("daemon", "--cgroup", l.Cgroup, "--log-level", "error", "--metrics", address)
		expectLine(t, what, r, 1, address)
	}
	var taken net.Listener
	l.Host.Must(func() (err error) {
		taken, err = net.Listen("tcp", metricsAddress)
		return err
	})
	refused("an address in use", metricsAddress)
	taken.Close()
	refused("an address that the host does not have", "203.0.113.1:9477")
	for _, address := range []string{"9477", "127.0.0.1", "nonsense:9477", "127.0.0.1:0"} {
		refused("no address", address)
	}

	l.StartDaemon("--metrics", "127.0.0.1:9999")
	curl(l, "http://127.0.0.1:9999/metrics")
	expectUnreached(t, l.Host, metricsAddress)
	for _, off := range []string{"off", ""} {
		l.StopDaemon(unix.SIGTERM)
		l.StartDaemon("--metrics", off)
		expectUnreached(t, l.Host, metricsAddress)
	}
}
