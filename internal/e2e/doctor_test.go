package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/loader"
)

// diagnose runs `sluice doctor`, whose exit code must be that of its findings.
func diagnose(l *lab.Lab) (findings []api.Finding) {
	l.Helper()
	r := l.Sluice("doctor", "--format", "json")
	want := 0
	for line := range strings.Lines(r.Stdout) {
		var f api.Finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			l.Fatalf("%q: %v", line, err)
		}
		if f.Status == api.FindingProblem {
			want = 1
		}
		findings = append(findings, f)
	}
	if r.Code != want || r.Stderr != "" || len(findings) == 0 {
		l.Fatalf("doctor: exit code %d, want %d; said %q, printed %s", r.Code, want, r.Stderr, r.Stdout)
	}
	return findings
}

// expectFinding asserts that a check found something, and with which words.
func expectFinding(l *lab.Lab, check, status, words string) {
	l.Helper()
	if err := lookFor(l, check, status, words); err != nil {
		l.Error(err)
	}
}

func lookFor(l *lab.Lab, check, status, words string) error {
	l.Helper()
	var found []api.Finding
	for _, f := range diagnose(l) {
		if f.Check != check {
			continue
		}
		if f.Status == status && strings.Contains(f.Text+"; "+f.Advice, words) {
			return nil
		}
		found = append(found, f)
	}
	return fmt.Errorf("%s: no %s with %q among %+v", check, status, words, found)
}

// expectHealthy asserts that no check finds a problem.
func expectHealthy(l *lab.Lab) {
	l.Helper()
	if err := lookForProblems(l); err != nil {
		l.Error(err)
	}
}

func lookForProblems(l *lab.Lab) (err error) {
	l.Helper()
	for _, f := range diagnose(l) {
		if f.Status == api.FindingProblem {
			err = errors.Join(err, fmt.Errorf("a problem of a host that has none: %+v", f))
		}
	}
	return err
}

// TestDoctorSeesPrograms covers ours that are gone, and others beside them.
func TestDoctorSeesPrograms(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	expectFinding(l, "programs", api.FindingOK, "alone")
	other := func(kind ebpf.ProgramType, code int32) *ebpf.Program {
		program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Name: "bystander", Type: kind, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm32(asm.R0, code), asm.Return()},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { program.Close() })
		return program
	}
	const tcxNext, xdpPass = -1, 2
	attach := func(what string, attach func(ifindex int) (link.Link, error)) link.Link {
		t.Helper()
		var attached link.Link
		l.Host.Must(func() error {
			device, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			attached, err = attach(device.Attrs().Index)
			return err
		})
		t.Cleanup(func() { attached.Close() })
		return attached
	}
	behind := attach("behind", func(ifindex int) (link.Link, error) {
		return link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: other(ebpf.SchedCLS, tcxNext), Attach: ebpf.AttachTCXIngress})
	})
	expectFinding(l, "programs", api.FindingNote, "eth0, hook uplink: others are behind us")
	behind.Close()
	attach("before", func(ifindex int) (link.Link, error) {
		return link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: other(ebpf.SchedCLS, tcxNext), Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
	})
	expectFinding(l, "programs", api.FindingNote, "eth0, hook uplink: others see packets before us, and may keep them: bystander")
	attach("XDP", func(ifindex int) (link.Link, error) {
		return link.AttachXDP(link.XDPOptions{Interface: ifindex, Program: other(ebpf.XDP, xdpPass)})
	})
	expectFinding(l, "uplinks", api.FindingNote, "eth0 has the XDP program bystander")
	if err := os.Remove(filepath.Join(loader.PinsDir(filepath.Join(l.Root, "bpf")), "links", "bridge@sluice0")); err != nil {
		t.Fatal(err)
	}
	l.Host.Eventually("the kernel detaches what has no pin", func() error {
		return lookFor(l, "programs", api.FindingProblem, "sluice0, hook bridge: ours is not attached")
	})
}

// TestDoctorCountsPorts covers hosts that leave masquerade too few ports, and
// what the advice does.
func TestDoctorCountsPorts(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	setHostSysctl(l, "ipv4/ip_local_port_range", "1024 65000")
	l.StartDaemon()
	expectFinding(l, "masquerade-ports", api.FindingProblem, "--reserve-ports=8192")
	l.StopDaemon(unix.SIGTERM)
	l.StartDaemon("--reserve-ports=8192")
	expectHealthy(l)
	l.OK("run", "-d", "--name=net00", "-p", "56000:80", "-p", "60000:81")
	expectFinding(l, "published-ports", api.FindingNote, "loses its answers to the container: 56000;")
}

// TestDoctorWithoutDaemon covers a host before its first daemon, where a daemon
// could not start, and after one.
func TestDoctorWithoutDaemon(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	before := stateOf(l)
	expectFinding(l, "daemon", api.FindingProblem, "`sluice daemon`")
	expectFinding(l, "kernel", api.FindingOK, "has all that the programs need")
	expectFinding(l, "bpffs", api.FindingOK, "will mount its own")
	r := l.Host.Run("unshare", "-m", lab.Binary(t), "--root", l.Root, "doctor")
	if r.Code != 1 || !strings.Contains(r.Stdout, "nsenter --net=PATH") {
		t.Errorf("in a private mount namespace: exit code %d: %s", r.Code, r.Stdout)
	}
	expectLine(t, "without root", runAsNobody(l, "doctor"), 1, "root")
	expectState(t, stateOf(l), before)

	l.StartDaemon()
	if err := changeRule(l, "sluice0", netlink.RuleAdd); err != nil {
		t.Fatal(err)
	}
	l.StopDaemon(unix.SIGKILL)
	expectFinding(l, "ip-rules", api.FindingProblem, "iif sluice0")
	expectFinding(l, "bpffs", api.FindingOK, "the datapath goes on without the daemon")
}

// TestDoctorKnowsTunnels covers an uplink that has programs of its own kind.
func TestDoctorKnowsTunnels(t *testing.T) {
	t.Parallel()
	l := lab.NewWithoutDaemon(t)
	lab.Tunnel(t, l.Host, l.Client, "tun0")
	l.Host.Address("tun0", "10.9.0.1/24")
	l.StartDaemon()
	expectHealthy(l)
	expectFinding(l, "uplinks", api.FindingOK, "eth0, tun0")
}

func TestBadDoctor(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	expectBad(l, []badInput{
		{"doctor extra", 1, "extra"},
		{"doctor --format {{", 1, "--format"},
		{"doctor --format {{.Nonsense}}", 1, "--format"},
	})
}
