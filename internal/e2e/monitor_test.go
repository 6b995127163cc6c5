package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/lab"
)

// udpSend sends N datagrams to ADDR:PORT and expects no answer.
func udpSend(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	conn, err := net.Dial("udp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	for range n {
		if _, err := conn.Write([]byte("datagram")); err != nil {
			return err
		}
	}
	return nil
}

// monitor is `sluice monitor --drops` while it runs.
type monitor struct {
	*lab.Lab
	cmd    *exec.Cmd
	stderr bytes.Buffer

	mu     sync.Mutex
	stdout bytes.Buffer
}

// Write takes what the monitor prints.
func (m *monitor) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stdout.Write(b)
}

func startMonitor(l *lab.Lab, args ...string) *monitor {
	l.Helper()
	m := &monitor{Lab: l, cmd: exec.Command(lab.Binary(l.T), append([]string{"--root", l.Root, "monitor", "--drops"}, args...)...)}
	m.cmd.Stdout, m.cmd.Stderr = m, &m.stderr
	if err := l.Host.Start(m.cmd); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		if m.cmd.ProcessState == nil {
			_ = m.cmd.Process.Kill()
			_ = m.cmd.Wait()
		}
	})
	return m
}

// text is what the monitor has printed, without a line that is not whole yet.
func (m *monitor) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	printed := m.stdout.String()
	return printed[:strings.LastIndexByte(printed, '\n')+1]
}

// drops is what a monitor with --format json has shown.
func (m *monitor) drops() (all []api.Drop) {
	m.Helper()
	for line := range strings.Lines(m.text()) {
		var d api.Drop
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			m.Fatalf("%q: %v", line, err)
		}
		all = append(all, d)
	}
	return all
}

// until sends something again until the monitor shows a drop like it.
func (m *monitor) until(what string, send func(), like func(api.Drop) bool) (found api.Drop) {
	m.Helper()
	m.Host.Eventually(what, func() error {
		send()
		for _, d := range m.drops() {
			if like(d) {
				found = d
				return nil
			}
		}
		return fmt.Errorf("none among %d drops", len(m.drops()))
	})
	return found
}

// ended waits for the monitor's end and returns its exit code.
func (m *monitor) ended() int {
	_ = m.cmd.Wait()
	return m.cmd.ProcessState.ExitCode()
}

func (m *monitor) interrupt() {
	m.Helper()
	if err := m.cmd.Process.Signal(unix.SIGINT); err != nil {
		m.Fatal(err)
	}
	if code := m.ended(); code != 0 || m.stderr.String() != "" {
		m.Errorf("interrupted: exit code %d, said %q", code, m.stderr.String())
	}
}

// TestMonitorDrops covers what several watchers are shown of packets that
// containers, and others, send and do not get through.
func TestMonitorDrops(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		f.network(l, "other")
		runServer(l, "net00", "tcp-echo", ":80")
		l.OK("run", "-d", "--name=net01", "--network=other")
		l.Client.Route(f.inside, f.host)
		before := descriptors(l)

		every, one := startMonitor(l, "--format", "json"), startMonitor(l, "--format", "json", "--container", "net01")
		isolation := startMonitor(l, "--reason", "isolation", "--reason", "martian")
		fromOutside := func() { ask(l.Client, "udp-send", port(f.first, "53"), "1") }
		fromInside := func() { l.OK("exec", "net01", selfPath, "udp-send", port(f.first, "53"), "1") }
		isUnpublished := func(d api.Drop) bool { return d.Reason == "unpublished" }
		isIsolation := func(d api.Drop) bool { return d.Reason == "isolation" }

		header := map[bool]uint32{false: 20, true: 40}[f.is6()]
		d := every.until("a packet from outside is shown", fromOutside, isUnpublished)
		if d.Hook != "uplink" || d.Device != "eth0" || d.Sender != "" || d.Receiver != "net00" || d.Protocol != "udp" ||
			d.Destination != port(f.first, "53") || !strings.HasPrefix(d.Source, port(f.client, "")) || d.Length != header+8+8 ||
			d.Packet != d.Source+" > "+d.Destination+" udp" || len(d.Frame) != 14+int(d.Length) || d.Description == "" || d.Time.IsZero() {
			t.Errorf("from outside: %+v", d)
		}
		d = every.until("a packet from a container is shown", fromInside, isIsolation)
		if d.Hook != "container" || d.Device != vethOf(l, "net01") || d.Sender != "net01" || d.Receiver != "net00" {
			t.Errorf("from a container: %+v", d)
		}
		one.until("the other watcher sees it too", fromInside, isIsolation)
		fromOutside()
		isolation.Host.Eventually("the text has it", func() error {
			fromInside()
			if !strings.Contains(isolation.text(), " container isolation       "+port(f.inOther, "")) {
				return errors.New(isolation.text())
			}
			return nil
		})
		isolation.interrupt()
		every.interrupt()
		one.interrupt()
		for _, d := range one.drops() {
			if !isIsolation(d) {
				t.Errorf("net01's: %+v", d)
			}
		}
		if strings.Contains(isolation.text(), "unpublished") {
			t.Errorf("of isolation:\n%s", isolation.text())
		}
		l.Host.Eventually("the daemon reads no more", func() error {
			if after := descriptors(l); after > before {
				return fmt.Errorf("it has %d descriptors open, %d before", after, before)
			}
			return nil
		})
	})
}

// TestMonitorOfAFlood covers more drops than are shown: each is either shown
// or counted as not shown.
func TestMonitorOfAFlood(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	runServer(l, "net00", "tcp-echo", ":80")
	l.Client.Route("172.17.0.0/16", lab.HostAddr)
	m := startMonitor(l, "--format", "json", "--reason", "unpublished")
	probe := func(d api.Drop) bool { return d.Destination == "172.17.0.2:9" }
	m.until("the monitor watches", func() { ask(l.Client, "udp-send", "172.17.0.2:9", "1") }, probe)
	const sent = 5000
	if r := ask(l.Client, "udp-send", "172.17.0.2:53", fmt.Sprint(sent)); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	var shown, notShown uint64
	m.Host.Eventually("every packet is accounted for", func() error {
		shown, notShown = 0, 0
		for _, d := range m.drops() {
			if !probe(d) && d.NotShown == 0 {
				shown++
			}
			notShown += d.NotShown
		}
		if shown+notShown != sent {
			return fmt.Errorf("%d shown, %d not, of %d", shown, notShown, sent)
		}
		return nil
	})
	if notShown == 0 {
		t.Errorf("all %d were shown", shown)
	}
	m.interrupt()
}

// TestMonitorOutlivesNoDaemon covers a daemon that stops, and one that dies.
func TestMonitorOutlivesNoDaemon(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.Client.Route("172.17.0.0/16", lab.HostAddr)
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		m := startMonitor(l, "--format", "json")
		m.until("the monitor watches", func() { ask(l.Client, "udp-send", "172.17.0.2:53", "1") }, func(api.Drop) bool { return true })
		l.StopDaemon(signal)
		r := lab.Result{Code: m.ended(), Stderr: m.stderr.String()}
		expectLine(t, fmt.Sprintf("the daemon ends by %v", signal), r, 1, "the daemon has ended")
		l.StartDaemon()
	}
}

func TestBadMonitor(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	expectBad(l, []badInput{
		{"monitor", 1, "--drops"},
		{"monitor --drops --reason nonsense", 1, "unpublished"},
		{"monitor --drops --container nobody", 1, "No such container: nobody"},
		{"monitor --drops --format {{", 1, "--format"},
		{"monitor --drops net00", 1, "net00"},
	})
}

// TestMonitorOfATunnel covers packets that have no Ethernet header.
func TestMonitorOfATunnel(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	lab.Tunnel(t, l.Host, l.Client, "tun0")
	l.Host.Address("tun0", "10.9.0.1/24")
	l.Client.Address("tun0", "10.9.0.2/24")
	l.Client.Route("172.17.0.0/16", "10.9.0.1")
	l.StartDaemon()
	m := startMonitor(l, "--format", "json")
	d := m.until("a packet from the tunnel is shown", func() { ask(l.Client, "udp-send", "172.17.0.2:53", "1") },
		func(d api.Drop) bool { return d.Reason == "unpublished" })
	if d.Device != "tun0" || d.SourceMAC != "" || d.Length != 36 || len(d.Frame) != 36 || d.Packet != d.Source+" > 172.17.0.2:53 udp" || hostPart(t, d.Source) != "10.9.0.2" {
		t.Errorf("%+v", d)
	}
	m.interrupt()
}
