package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// TestDoctorFindsWhatIsBroken breaks one thing after the other; each is found,
// and nothing else once it is whole again.
func TestDoctorFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("network", "create", "--subnet=172.20.0.0/16", "custombridge")
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	runServer(l, "m0", "tcp-echo", ":80", "--network=custombridge", "--network-alias=rr")
	f := families[0]
	l.Host.Address("eth0", f.second+f.prefix)
	f.runOnSecond(l, "net01", "tcp-echo", ":80", "-p", port(f.second, "8081:80"))
	expectHealthy(l)
	veth := vethOf(l, "net00")
	for _, broken := range []struct {
		name          string
		do, undo      func() error
		check, status string
		words         string
	}{
		{"a sysctl of a bridge",
			func() error { return hostWrite(l, "ipv4/conf/sluice0/route_localnet", "0") },
			func() error { return hostWrite(l, "ipv4/conf/sluice0/route_localnet", "1") },
			"devices", api.FindingProblem, "net.ipv4.conf.sluice0.route_localnet is 0"},
		{"a sysctl of a veth",
			func() error { return hostWrite(l, "ipv6/conf/"+veth+"/disable_ipv6", "0") },
			func() error { return hostWrite(l, "ipv6/conf/"+veth+"/disable_ipv6", "1") },
			"devices", api.FindingProblem, "net.ipv6.conf." + veth + ".disable_ipv6 is 0"},
		{"an endpoint's neighbour entry",
			func() error { return changeNeighbour(l, "sluice0", "172.17.0.2", netlink.NeighDel) },
			func() error { return changeNeighbour(l, "sluice0", "172.17.0.2", netlink.NeighSet) },
			"neighbours", api.FindingProblem, "172.17.0.2 is no permanent neighbour on sluice0"},
		{"a rule that cannot match",
			func() error { return changeRule(l, "sluice0", netlink.RuleAdd) },
			func() error { return changeRule(l, "sluice0", netlink.RuleDel) },
			"ip-rules", api.FindingProblem, "ip rule 100 (iif sluice0) never matches"},
		{"an uplink without an address",
			func() error { return addUplink(l, "203.0.113.0/24") },
			func() error { return l.Host.Do(func() error { return deleteLink("eth1") }) },
			"uplinks", api.FindingProblem, "eth1 has no global IPv4 address"},
		{"a published port without its address",
			func() error { return changeAddress(l, "eth0", f.second+f.prefix, netlink.AddrDel) },
			func() error { return changeAddress(l, "eth0", f.second+f.prefix, netlink.AddrAdd) },
			"published-ports", api.FindingProblem, "the address " + f.second + " no more"},
		{"ip_local_port_range",
			func() error { return hostWrite(l, "ipv4/ip_local_port_range", "2048 60999") },
			func() error { return hostWrite(l, "ipv4/ip_local_port_range", "32768 60999") },
			"masquerade-ports", api.FindingProblem, "restart the daemon"},
		{"a default route",
			func() error { return changeDefaultRoute(l, netlink.RouteDel) },
			func() error { return changeDefaultRoute(l, netlink.RouteAdd) },
			"uplinks", api.FindingNote, "no default route"},
	} {
		if err := broken.do(); err != nil {
			t.Fatalf("%s: %v", broken.name, err)
		}
		l.Host.Eventually(broken.name+" is found", func() error { // uplinks come by netlink
			err := lookFor(l, broken.check, broken.status, broken.words)
			if err != nil && broken.check == "devices" { // a repair that was under way has taken it back
				return errors.Join(err, broken.do())
			}
			return err
		})
		if err := broken.undo(); err != nil {
			t.Fatalf("%s, taken back: %v", broken.name, err)
		}
		l.Host.Eventually("nothing is left of "+broken.name, func() error { return lookForProblems(l) })
	}
}

func hostWrite(l *lab.Lab, name, value string) error {
	return l.Host.Do(func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) })
}

func changeAddress(l *lab.Lab, device, prefix string, change func(netlink.Link, *netlink.Addr) error) error {
	return l.Host.Do(func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(prefix)
		if err != nil {
			return err
		}
		return change(link, addr)
	})
}

func changeNeighbour(l *lab.Lab, bridge, addr string, change func(*netlink.Neigh) error) error {
	return l.Host.Do(func() error {
		device, err := netlink.LinkByName(bridge)
		if err != nil {
			return err
		}
		ip := net.ParseIP(addr).To4()
		return change(&netlink.Neigh{
			LinkIndex: device.Attrs().Index, IP: ip, State: netlink.NUD_PERMANENT,
			HardwareAddr: net.HardwareAddr{0x02, 0x42, ip[0], ip[1], ip[2], ip[3]},
		})
	})
}

// changeRule adds or removes a rule by which a device's packets, or those that
// pretend to be, find the routes of table 7.
func changeRule(l *lab.Lab, iif string, change func(*netlink.Rule) error) error {
	return l.Host.Do(func() error {
		rule := netlink.NewRule()
		rule.Priority, rule.IifName, rule.Table, rule.Family = 100, iif, 7, netlink.FAMILY_V4
		return change(rule)
	})
}

// addUplink adds a device without an address, eth1, and a route through it.
func addUplink(l *lab.Lab, dst string) error {
	return l.Host.Do(func() error {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1"}, PeerName: "eth1p"}); err != nil {
			return err
		}
		device, err := netlink.LinkByName("eth1")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(device); err != nil {
			return err
		}
		to, err := netlink.ParseIPNet(dst)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: device.Attrs().Index, Dst: to, Scope: netlink.SCOPE_LINK})
	})
}

func deleteLink(name string) error {
	device, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkDel(device)
}

func changeDefaultRoute(l *lab.Lab, change func(*netlink.Route) error) error {
	return l.Host.Do(func() error {
		_, everything, err := net.ParseCIDR("0.0.0.0/0")
		if err != nil {
			return err
		}
		return change(&netlink.Route{Dst: everything, Gw: net.ParseIP(lab.ClientAddr)})
	})
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
	expectFinding(l, "programs", api.FindingProblem, "sluice0, hook bridge: ours is not attached")
}

// TestDoctorIsRightAboutRules covers what it says of rules by `iif`: that of a
// bridge does not match what containers send, that of the lending device does.
func TestDoctorIsRightAboutRules(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.Client.Background(selfPath, "udp-echo", lab.ClientAddr+":7")
	l.OK("run", "-d", "--name=net00")
	l.Host.Must(func() error {
		_, everything, err := net.ParseCIDR("0.0.0.0/0")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Dst: everything, Type: unix.RTN_BLACKHOLE, Table: 7})
	})
	ask := func() int {
		return l.Sluice("exec", "net00", selfPath, "udp-ask", lab.ClientAddr+":7", "hello").Code
	}
	persistInside(l, "net00", "udp-ask", lab.ClientAddr+":7", "hello")
	for _, test := range []struct {
		iif     string
		matches bool
	}{{"sluice0", false}, {"sluice-fib", true}} {
		if err := changeRule(l, test.iif, netlink.RuleAdd); err != nil {
			t.Fatal(err)
		}
		if matches := ask() != 0; matches != test.matches {
			t.Errorf("iif %s: matches %v, want %v", test.iif, matches, test.matches)
		}
		if err := changeRule(l, test.iif, netlink.RuleDel); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDoctorIsRightAboutFirewalls covers what it says of rp_filter, FORWARD,
// INPUT and bridge-nf-call-iptables: what does not matter, and what does.
func TestDoctorIsRightAboutFirewalls(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	for _, name := range []string{"all", "default", "eth0", "sluice0"} {
		setHostSysctl(l, "ipv4/conf/"+name+"/rp_filter", "1")
	}
	setHostSysctl(l, "bridge/bridge-nf-call-iptables", "1")
	setHostSysctl(l, "bridge/bridge-nf-call-ip6tables", "0")
	l.Host.Output("iptables", "-P", "FORWARD", "DROP")
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	runServer(l, "net01", "udp-echo", ":9")
	l.Client.Background(selfPath, "tcp-echo", ":7")
	expectFinding(l, "rp_filter", api.FindingOK, "does not matter")
	expectFinding(l, "bridge-netfilter", api.FindingNote, "broadcast and multicast between containers need a rule, and nothing else does")

	greeting(l.Client, lab.HostAddr+":8080")
	greeting(l.Host, "127.0.0.1:8080")
	persistInside(l, "net01", "tcp-ask", "172.17.0.2:80")
	persistInside(l, "net01", "tcp-ask", lab.ClientAddr+":7")
	broadcast := []string{"exec", "net00", selfPath, "udp-ask-all", "172.17.255.255:9", "hello"}
	if r := l.Sluice(broadcast...); r.Code == 0 {
		t.Errorf("a broadcast came through FORWARD: %s", r.Stdout)
	}
	l.Host.Output("iptables", "-A", "FORWARD", "-i", "sluice0", "-j", "ACCEPT")
	l.OK(broadcast...)
	l.Host.Output("iptables", "-F", "FORWARD")

	setHostSysctl(l, "bridge/bridge-nf-call-iptables", "0")
	expectFinding(l, "bridge-netfilter", api.FindingOK, "off")
	expectFinding(l, "firewall", api.FindingOK, "FORWARD drops by default (ip filter FORWARD), which does not matter")
	l.OK(broadcast...)

	l.Host.Output("iptables", "-P", "INPUT", "DROP")
	expectFinding(l, "firewall", api.FindingNote, "INPUT drops by default (ip filter INPUT)")
	greeting(l.Client, lab.HostAddr+":8080")
	expectUnreached(t, l.Host, "127.0.0.1:8080")
	l.Host.Output("iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT")
	greeting(l.Host, "127.0.0.1:8080")
	expectHealthy(l)
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
	for _, b := range []badInput{
		{"doctor extra", 1, "extra"},
		{"doctor --format {{", 1, "--format"},
		{"doctor --format {{.Nonsense}}", 1, "--format"},
	} {
		b.expect(t, l)
	}
}

// udpAskAll sends MESSAGE to the broadcast ADDR:PORT and prints who answers.
func udpAskAll(args []string) error {
	to, err := net.ResolveUDPAddr("udp4", args[0])
	if err != nil {
		return err
	}
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return err
	}
	if _, err := conn.WriteTo([]byte(args[1]), to); err != nil {
		return err
	}
	_, from, err := conn.ReadFrom(make([]byte, 64))
	if err != nil {
		return err
	}
	fmt.Println(from)
	return nil
}
