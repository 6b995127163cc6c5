package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/maps"
)

// flowsOf returns `sluice conntrack ls` with flags as objects.
func flowsOf(l *lab.Lab, flags ...string) (flows []api.Flow) {
	l.Helper()
	for line := range strings.Lines(l.OK(append([]string{"conntrack", "ls", "--format", "json"}, flags...)...)) {
		var f api.Flow
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			l.Fatalf("%q: %v", line, err)
		}
		flows = append(flows, f)
	}
	return flows
}

// theFlow returns the only one.
func theFlow(l *lab.Lab, flags ...string) api.Flow {
	l.Helper()
	flows := flowsOf(l, flags...)
	if len(flows) != 1 {
		l.Fatalf("%v: %d flows, want one: %+v", flags, len(flows), flows)
	}
	return flows[0]
}

// TestConntrack covers flows of every kind as they are listed, and filters.
func TestConntrack(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("network", "create", "--subnet=172.20.0.0/16", "custombridge")
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	runServer(l, "net01", "tcp-echo", ":80", "--network=custombridge", "--network-alias=rr")
	l.OK("run", "-d", "--name=asker", "--network=custombridge")
	l.Client.Background(selfPath, "udp-echo", lab.ClientAddr+":7")
	if got := flowsOf(l); got != nil {
		t.Fatalf("flows of nobody: %+v", got)
	}

	greeting(l.Client, lab.HostAddr+":8080") // until the server is up
	l.OK("conntrack", "flush", "--all")
	established := newTalk(t, l.Client, lab.HostAddr+":8080")
	established.say("so that it is confirmed")
	f := theFlow(l)
	if f.Protocol != "tcp" || f.State != "ESTABLISHED" || f.Family != "ipv4" || f.Container != "net00" || f.Kind != "publish" || f.Rule != "8080:80/tcp" ||
		!strings.HasPrefix(f.Source, lab.ClientAddr+":") || f.Destination != lab.HostAddr+":8080" ||
		f.TranslatedSource != f.Source || f.TranslatedDestination != "172.17.0.2:80" {
		t.Errorf("published: %+v", f)
	}
	if f.Left < 7400 || f.Left > 7440 || f.Age > 60 || f.Idle > f.Age {
		t.Errorf("times of the published: %+v", f)
	}

	persistInside(l, "net00", "udp-ask", lab.ClientAddr+":7", "hello")
	f = theFlow(l, "--proto", "udp")
	if f.State != "REPLIED" || f.Kind != "masquerade" || f.Rule != "bridge" || f.Container != "net00" || hostPart(t, f.TranslatedSource) != lab.HostAddr {
		t.Errorf("masqueraded: %+v", f)
	}
	persistInside(l, "asker", "tcp-ask", vip(l, "rr")+":80")
	f = theFlow(l, "--container", "asker")
	if f.Kind != "alias" || f.Rule != "rr" || f.Container != "net01" || f.Peer != "asker" || f.TranslatedDestination != "172.20.0.2:80" {
		t.Errorf("to an alias: %+v", f)
	}
	l.OK("exec", "asker", "busybox", "ping", "-c", "2", "-W", "5", lab.ClientAddr)
	f = theFlow(l, "--proto", "icmp")
	if f.State != "ASSURED" || f.Container != "asker" || f.Source != "172.20.0.3" || f.Destination != lab.ClientAddr || f.TranslatedSource != lab.HostAddr || f.TranslatedID == 0 {
		t.Errorf("echo: %+v", f)
	}

	for flags, want := range map[string]int{
		"": 4, "--family ipv4": 4, "--family ipv6": 0, "--state established": 1, "--state ESTABLISHED --proto udp": 0,
		"--src 172.17.0.2": 1, "--src 172.16.0.0/12": 3, "--src " + lab.HostAddr: 2, "--dst 172.17.0.2": 1, "--dst " + lab.ClientAddr: 2,
		"--port 8080": 1, "--port 80": 2, "--container net00": 2, "--container net01": 1, "--port 7 --container net00": 1,
	} {
		if got := l.OK(append([]string{"conntrack", "ls", "--count"}, strings.Fields(flags)...)...); got != fmt.Sprint(want) {
			t.Errorf("ls --count %s: %s, want %d", flags, got, want)
		}
		if got := len(flowsOf(l, strings.Fields(flags)...)); got != want {
			t.Errorf("ls %s: %d flows, want %d", flags, got, want)
		}
	}
	table := strings.Split(l.OK("conntrack", "list", "--proto", "icmp"), "\n")
	if len(table) != 2 || !strings.HasPrefix(table[0], "PROT") || !strings.Contains(table[1], "172.20.0.3 > "+lab.ClientAddr+" id ") {
		t.Errorf("the table: %q", table)
	}
}

// TestConntrackFlush covers that what is flushed ends, and nothing else.
func TestConntrackFlush(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	runServer(l, "net01", "tcp-echo", ":80", "-p", "8081:80")
	greeting(l.Client, lab.HostAddr+":8080")
	greeting(l.Client, lab.HostAddr+":8081")
	l.OK("conntrack", "flush", "--all")
	stays, ends := newTalk(t, l.Client, lab.HostAddr+":8080"), newTalk(t, l.Client, lab.HostAddr+":8081")
	stays.say("one")
	ends.say("one")
	if got := l.OK("conntrack", "flush", "--container", "net01", "--proto", "tcp"); got != "1" {
		t.Errorf("flushed %s flows, want 1", got)
	}
	if got := l.OK("conntrack", "flush", "--container", "net01"); got != "0" {
		t.Errorf("flushed %s flows again", got)
	}
	stays.say("two")
	if err := ends.conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := ends.conn.Write([]byte("two\n")); err == nil {
		if line, err := ends.reader.ReadString('\n'); err == nil {
			t.Errorf("a flushed connection went on: %q", line)
		}
	}
	greeting(l.Client, lab.HostAddr+":8081") // new ones are made
	if got := l.OK("conntrack", "flush", "--all"); got == "0" {
		t.Error("nothing was left to flush")
	}
	for _, name := range []string{"flows4", "flows6", "nursery4", "nursery6"} {
		if n := systemInfo(l).MapEntries[name]; n != 0 {
			t.Errorf("%d halves are left in %s", n, name)
		}
	}
	if got := l.OK("conntrack", "ls", "--count"); got != "0" {
		t.Errorf("%s flows are left", got)
	}
}

// TestConntrackOfAFullTable lists, counts and flushes as many flows as there
// can be, while the table changes.
func TestConntrackOfAFullTable(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	greeting(l.Client, lab.HostAddr+":8080")
	flows := openMap(l, "flows4")
	defer flows.Close()
	made := fillFlows(l, flows.MaxEntries()/2)
	changes := exec.Command(selfPath, "tcp-ask-loop", lab.HostAddr+":8080", "300", "1ms")
	var said strings.Builder
	changes.Stderr = &said
	if err := l.Client.Start(changes); err != nil {
		t.Fatal(err)
	}

	expectFinding(l, "conntrack", api.FindingProblem, "--conntrack-max")
	begin := time.Now()
	listed := strings.Count(l.OK("conntrack", "ls"), "\n")
	t.Logf("%d flows listed in %v", listed, time.Since(begin))
	begin = time.Now()
	count := l.OK("conntrack", "ls", "--count")
	t.Logf("%s flows counted in %v", count, time.Since(begin))
	// The LRU evicts some when it is full.
	if listed < made*9/10 || listed > made+1000 {
		t.Errorf("%d flows listed, %d made", listed, made)
	}
	seen := map[string]bool{}
	for _, f := range flowsOf(l) {
		key := f.Source + " " + f.Destination
		if seen[key] {
			t.Fatalf("%s is there twice", key)
		}
		seen[key] = true
	}
	begin = time.Now()
	flushed := l.OK("conntrack", "flush", "--src", "10.0.0.0/8")
	t.Logf("%s flows flushed in %v", flushed, time.Since(begin))
	if left := l.OK("conntrack", "ls", "--count", "--src", "10.0.0.0/8"); left != "0" {
		t.Errorf("%s flows are left", left)
	}
	if err := changes.Wait(); err != nil {
		t.Errorf("new connections meanwhile: %v: %s", err, said.String())
	}
}

// fillFlows puts flows from 10.0.0.0/8 to net00's port into the table and
// returns how many.
func fillFlows(l *lab.Lab, n uint32) int {
	l.Helper()
	table, young := openMap(l, "flows4"), openMap(l, "nursery4")
	defer table.Close()
	defer young.Close()
	var key datapath.FlowKey4
	var flow datapath.Flow4
	found := false
	for entries := young.Iterate(); !found && entries.Next(&key, &flow); {
		found = flow.Head.Direction == datapath.DirectionForward
	}
	if !found {
		l.Fatal("there is no flow to copy")
	}
	uptime, err := maps.Uptime()
	if err != nil {
		l.Fatal(err)
	}
	flow.Head.State = datapath.FlowReplied | datapath.FlowConfirmed | datapath.FlowTenured
	flow.Head.Created, flow.Head.Seen = uint32(uptime/time.Second), uint32(uptime/time.Second)
	var keys []datapath.FlowKey4
	var values []datapath.Flow4
	for i := range n {
		key.Src = raw4(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		flow.Src = key.Src
		other, half := key, flow
		other.Src, other.Dst, other.Sport, other.Dport, other.Zone = flow.Dst, flow.Src, flow.Dport, flow.Sport, flow.Head.BackZone
		half.Src, half.Dst, half.Sport, half.Dport = key.Dst, key.Src, key.Dport, key.Sport
		half.Head.Direction, half.Head.BackZone = datapath.DirectionReply, key.Zone
		keys, values = append(keys, key, other), append(values, flow, half)
	}
	if _, err := table.BatchUpdate(keys, values, nil); err != nil {
		l.Fatal(err)
	}
	return int(n)
}

func TestBadConntrack(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	for _, b := range []badInput{
		{"conntrack flush", 1, "--all"},
		{"conntrack flush --all --proto tcp", 1, "--all"},
		{"conntrack flush --container nobody", 1, "No such container: nobody"},
		{"conntrack ls --container nobody", 1, "No such container: nobody"},
		{"conntrack ls --proto gre", 1, "tcp, udp, icmp or icmp6"},
		{"conntrack ls --src here", 1, "here"},
		{"conntrack ls --port 70000", 1, "70000"},
		{"conntrack ls --state open", 1, "ESTABLISHED"},
		{"conntrack ls --count --family 5", 1, "ipv4 or ipv6"},
		{"conntrack ls --format {{", 1, "--format"},
		{"conntrack nonsense", 1, "nonsense"},
	} {
		b.expect(t, l)
	}
}
