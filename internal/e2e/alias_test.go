package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

// aliasLab is a lab with members m0, m1, … of the alias rr in a network of
// their own, and a client that waits in it.
func aliasLab(t *testing.T, members int) *lab.Lab {
	t.Helper()
	l := lab.New(t)
	l.OK("network", "create", "--subnet=172.20.0.0/16", "custombridge")
	for i := range members {
		runServer(l, fmt.Sprintf("m%d", i), "member", ":80", "--net=custombridge", "--net-alias=rr")
	}
	l.OK("run", "-d", "--name=client", "--network=custombridge")
	for i := range members {
		greetingInside(l, "client", memberAddr(i)+":80")
	}
	return l
}

// memberAddr is the address of the i-th member: the lowest free ones.
func memberAddr(i int) string { return fmt.Sprintf("172.20.0.%d", i+2) }

// vip is the IPv4 address behind which an alias's members take turns.
func vip(l *lab.Lab, alias string) string {
	l.Helper()
	prefix, _, _ := strings.Cut(natRule(l, "alias", alias).Destination, ",")
	return netip.MustParsePrefix(prefix).Addr().String()
}

// inside runs one of the test binary's programs in a container.
func inside(l *lab.Lab, container, program string, args ...string) string {
	l.Helper()
	return l.OK(append([]string{"exec", container, selfPath, program}, args...)...)
}

// greetingInside is greeting from a container.
func greetingInside(l *lab.Lab, container, addr string) string {
	l.Helper()
	return persistInside(l, container, "tcp-ask", addr)
}

// persistInside is persist in a container.
func persistInside(l *lab.Lab, container, program string, args ...string) (answer string) {
	l.Helper()
	l.Host.Eventually(program+" "+args[0]+" from "+container, func() error {
		r := l.Sluice(append([]string{"exec", container, selfPath, program}, args...)...)
		if r.Code != 0 {
			return fmt.Errorf("%s", r.Stderr)
		}
		answer = strings.TrimSpace(r.Stdout)
		return nil
	})
	return answer
}

// expectTurn asserts that each of n asks gets the member after the one before.
func expectTurn(t testing.TB, what string, members int, ask func() string) {
	t.Helper()
	var order []string
	for i := range members {
		order = append(order, memberAddr(i))
	}
	at := slices.Index(order, ask())
	for i := range 2 * members {
		want := order[(at+1+i)%members]
		if got := ask(); at < 0 || got != want {
			t.Errorf("%s: %s answers, and it is the turn of %s", what, got, want)
		}
	}
}

// turnPorts are those that expectTurn's datagrams come from.
var turnPorts atomic.Uint32

// turnPort is the next of them: a datagram from a port that was used a moment ago is
// of the flow that is there, and gets no turn.
func turnPort() string { return fmt.Sprintf(":%d", 40000+turnPorts.Add(1)%10000) }

// TestRow13AliasRoundRobin covers every kind of client and protocol: each
// connection goes to the next member.
func TestRow13AliasRoundRobin(t *testing.T) {
	t.Parallel()
	l := aliasLab(t, 3)
	addr := net.JoinHostPort(vip(l, "rr"), "80")
	expectTurn(t, "TCP from a container, by name", 3, func() string { return inside(l, "client", "tcp-ask", "rr:80") })
	expectTurn(t, "TCP from a container", 3, func() string { return inside(l, "client", "tcp-ask", addr) })
	expectTurn(t, "UDP from a container", 3, func() string { return inside(l, "client", "udp-ask-from", turnPort(), addr, "who?") })
	expectTurn(t, "TCP from a member", 3, func() string { return inside(l, "m0", "tcp-ask", addr) })
	expectTurn(t, "UDP from a member, by name", 3, func() string { return inside(l, "m2", "udp-ask-from", turnPort(), "RR.custombridge:80", "who?") })
	expectTurn(t, "UDP from a member", 3, func() string { return inside(l, "m1", "udp-ask-from", turnPort(), addr, "who?") })
	expectTurn(t, "TCP from the host", 3, func() string { return greeting(l.Host, addr) })
	expectTurn(t, "UDP from the host", 3, func() string { return persist(l.Host, "udp-ask-from", turnPort(), addr, "who?") })

	before := natRule(l, "alias", "rr").Packets
	for _, from := range []string{"client", "m0"} {
		for range 3 {
			if out := l.OK("exec", from, "busybox", "ping", "-c", "1", "-W", "5", "rr"); !strings.Contains(out, "1 packets received") {
				t.Errorf("ping from %s: %s", from, out)
			}
		}
	}
	if out := l.Host.Output("busybox", "ping", "-c", "1", "-W", "5", vip(l, "rr")); !strings.Contains(out, "1 packets received") {
		t.Errorf("ping from the host: %s", out)
	}
	if rule := natRule(l, "alias", "rr"); rule.Packets != before+7 || rule.To != "172.20.0.2,172.20.0.3,172.20.0.4" {
		t.Errorf("the rule is %+v, and had %d packets before 7 pings", rule, before)
	}
	expectUnreached(t, l.Client, addr)
}

// TestAliasConnectionsAreEven covers 8 clients at once: of 4,000 connections
// each of 4 members has 1,000.
func TestAliasConnectionsAreEven(t *testing.T) {
	t.Parallel()
	l := aliasLab(t, 4)
	addr := net.JoinHostPort(vip(l, "rr"), "80")
	var mu sync.Mutex
	var clients sync.WaitGroup
	sum := map[string]int{}
	for i := range 8 {
		name := fmt.Sprintf("c%d", i)
		l.OK("run", "-d", "--name="+name, "--net=custombridge")
		clients.Go(func() {
			r := l.Sluice("exec", name, selfPath, "tcp-tally", addr, "500")
			var tally map[string]int
			if err := json.Unmarshal([]byte(r.Stdout), &tally); err != nil {
				t.Errorf("%s: %v: %s", name, err, r.Stderr)
			}
			mu.Lock()
			defer mu.Unlock()
			for member, n := range tally {
				sum[member] += n
			}
		})
	}
	clients.Wait()
	for i := range 4 {
		if got := sum[memberAddr(i)]; got != 1000 {
			t.Errorf("member %s has %d connections: %v", memberAddr(i), got, sum)
		}
	}
}

// talkTo connects from the host's namespace and returns who answers.
func talkTo(t testing.TB, l *lab.Lab, addr string) (*talk, string) {
	t.Helper()
	k := newTalk(t, l.Host, addr)
	return k, strings.TrimSpace(k.greeting)
}

// TestAliasMembersComeAndGo covers stop, start and removal while connections
// to every member are open: a member that is stopped gets no new connection
// and serves those it has to their end.
func TestAliasMembersComeAndGo(t *testing.T) {
	t.Parallel()
	l := aliasLab(t, 3)
	addr := net.JoinHostPort(vip(l, "rr"), "80")
	talks := map[string]*talk{}
	for range 3 {
		k, who := talkTo(t, l, addr)
		talks[who] = k
	}
	if len(talks) != 3 {
		t.Fatalf("3 connections went to %d members", len(talks))
	}
	everybody := func(what string) {
		t.Helper()
		for _, k := range talks {
			k.say(what)
		}
	}
	stopped := make(chan lab.Result)
	go func() { stopped <- l.Sluice("stop", "-t", "30", "m1") }()
	l.Host.Eventually("m1 leaves the turn", func() error {
		if to := natRule(l, "alias", "rr").To; to != "172.20.0.2,172.20.0.4" {
			return fmt.Errorf("members: %s", to)
		}
		return nil
	})
	everybody("while one drains")
	for range 6 {
		if who := greeting(l.Host, addr); who == memberAddr(1) {
			t.Error("a member that is being stopped got a connection")
		}
	}
	talks[memberAddr(1)].conn.Close()
	delete(talks, memberAddr(1))
	if r := <-stopped; r.Code != 0 {
		t.Errorf("stop: %s", r.Stderr)
	}
	everybody("after it has ended")

	l.OK("start", "m1")
	greetingInside(l, "client", memberAddr(1)+":80")
	expectTurn(t, "after the start", 3, func() string { return greeting(l.Host, addr) })
	everybody("after it has come back")

	l.OK("kill", "m2")
	delete(talks, memberAddr(2))
	expectTurn(t, "after a kill", 2, func() string { return greeting(l.Host, addr) })
	l.StopDaemon(unix.SIGKILL)
	expectTurn(t, "without the daemon", 2, func() string { return greeting(l.Host, addr) })
	l.StartDaemon()
	expectTurn(t, "with a new daemon", 2, func() string { return greeting(l.Host, addr) })
	everybody("at the end")
	l.OK("rm", "-f", "m0", "m1", "m2")
	if strings.Contains(l.OK("nat"), "alias") {
		t.Error("the alias outlived its members")
	}
	expectUnreached(t, l.Host, addr)
}

// TestAliasOnPredefinedNetwork covers networks that have no aliases.
func TestAliasOnPredefinedNetwork(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	for _, network := range []string{"bridge", "host", "none"} {
		r := l.Sluice("run", "-d", "--network", network, "--network-alias=rr")
		expectLine(t, network, r, 125, "network-scoped alias is supported only for containers in user defined networks")
	}
	l.OK("network", "create", "custombridge")
	r := l.Sluice("run", "-d", "--net=custombridge", "--net-alias=a b")
	expectLine(t, "a name with a space", r, 125, `invalid network alias "a b"`)
	if out := l.OK("ps", "-aq"); out != "" {
		t.Errorf("containers are left: %s", out)
	}
}
