package e2e

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/lab"
)

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
