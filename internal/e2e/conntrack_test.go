package e2e

import (
	"encoding/binary"
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
	"github.com/sluice-net/sluice/loader"
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
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		f.network(l, "custombridge")
		runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
		runServer(l, "net01", "tcp-echo", ":80", "--network=custombridge", "--network-alias=rr")
		l.OK("run", "-d", "--name=asker", "--network=custombridge")
		l.Client.Background(selfPath, "udp-echo", port(f.client, "7"))
		datagram(l.Host, port(f.client, "7"), "up?") // what nobody answers is a flow of a container's
		greeting(l.Host, port(f.inOther, "80"))
		if got := flowsOf(l); got != nil {
			t.Fatalf("flows of nobody: %+v", got)
		}

		greeting(l.Client, port(f.host, "8080")) // until the server is up
		l.OK("conntrack", "flush", "--all")
		established := newTalk(t, l.Client, port(f.host, "8080"))
		established.say("so that it is confirmed")
		flow := theFlow(l)
		if flow.Protocol != "tcp" || flow.State != "ESTABLISHED" || flow.Family != strings.ToLower(f.name) || flow.Container != "net00" ||
			flow.Kind != "publish" || !strings.HasSuffix(flow.Rule, "8080:80/tcp") || !strings.HasPrefix(flow.Source, port(f.client, "")) ||
			flow.Destination != port(f.host, "8080") || flow.TranslatedSource != flow.Source || flow.TranslatedDestination != port(f.first, "80") {
			t.Errorf("published: %+v", flow)
		}
		if flow.Left < 7400 || flow.Left > 7440 || flow.Age > 60 || flow.Idle > flow.Age {
			t.Errorf("times of the published: %+v", flow)
		}

		persistInside(l, "net00", "udp-ask", port(f.client, "7"), "hello")
		flow = theFlow(l, "--proto", "udp")
		if flow.State != "REPLIED" || flow.Kind != "masquerade" || flow.Rule != "bridge" || flow.Container != "net00" ||
			hostPart(t, flow.TranslatedSource) != f.host {
			t.Errorf("masqueraded: %+v", flow)
		}
		persistInside(l, "asker", "tcp-ask", port(f.vip(l, "rr"), "80"))
		flow = theFlow(l, "--container", "asker")
		if flow.Kind != "alias" || flow.Rule != "rr" || flow.Container != "net01" || flow.Peer != "asker" ||
			flow.TranslatedDestination != port(f.inOther, "80") {
			t.Errorf("to an alias: %+v", flow)
		}
		asker, echo := f.addressOf(l, "asker", "custombridge"), map[bool]string{false: "icmp", true: "icmp6"}[f.is6()]
		l.OK("exec", "asker", "busybox", "ping", "-c", "2", "-W", "5", f.client)
		flow = theFlow(l, "--proto", echo)
		if flow.State != "ASSURED" || flow.Container != "asker" || flow.Source != asker || flow.Destination != f.client ||
			flow.TranslatedSource != f.host || flow.TranslatedID == 0 {
			t.Errorf("echo: %+v", flow)
		}

		of := map[bool]int{true: 4}
		for flags, want := range map[string]int{
			"": 4, "--family ipv4": of[!f.is6()], "--family ipv6": of[f.is6()], "--state established": 1,
			"--state ESTABLISHED --proto udp": 0, "--src " + f.first: 1, "--src " + f.inside: 3, "--src " + f.host: 2,
			"--dst " + f.first: 1, "--dst " + f.client: 2,
			"--port 8080": 1, "--port 80": 2, "--container net00": 2, "--container net01": 1, "--port 7 --container net00": 1,
		} {
			if got := l.OK(append([]string{"conntrack", "ls", "--count"}, strings.Fields(flags)...)...); got != fmt.Sprint(want) {
				t.Errorf("ls --count %s: %s, want %d", flags, got, want)
			}
			if got := len(flowsOf(l, strings.Fields(flags)...)); got != want {
				t.Errorf("ls %s: %d flows, want %d", flags, got, want)
			}
		}
		table := strings.Split(l.OK("conntrack", "list", "--proto", echo), "\n")
		if len(table) != 2 || !strings.HasPrefix(table[0], "PROT") || !strings.Contains(table[1], asker+" > "+f.client+" id ") {
			t.Errorf("the table: %q", table)
		}
	})
}

// TestConntrackFlush covers that what is flushed ends, and nothing else.
func TestConntrackFlush(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
		runServer(l, "net01", "tcp-echo", ":80", "-p", "8081:80")
		greeting(l.Client, port(f.host, "8080"))
		greeting(l.Client, port(f.host, "8081"))
		l.OK("conntrack", "flush", "--all")
		stays, ends := newTalk(t, l.Client, port(f.host, "8080")), newTalk(t, l.Client, port(f.host, "8081"))
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
		greeting(l.Client, port(f.host, "8081")) // new ones are made
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
	})
}

// TestConntrackOfAFullTable lists, counts and flushes as many flows as there
// can be, while the table changes.
func TestConntrackOfAFullTable(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	greeting(l.Client, lab.HostAddr+":8080")
	made := fillFlows(l, loader.DefaultConntrackMax)
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
	// A set may be full before the table is: then somebody loses a half.
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
	table, young := openTenured(l), openMap(l, "nursery4")
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
	put := func(key datapath.FlowKey4, half datapath.Flow4) {
		entry, err := binary.Append(nil, binary.NativeEndian, datapath.FlowEntry4{Flow: half, Key: key})
		if err == nil {
			size := binary.Size(half)
			_, err = table.Put(entry[size:], entry[:size])
		}
		if err != nil {
			l.Fatal(err)
		}
	}
	for i := range n {
		key.Src = raw4(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		flow.Src = key.Src
		other, half := key, flow
		other.Src, other.Dst, other.Sport, other.Dport, other.Zone = flow.Dst, flow.Src, flow.Dport, flow.Sport, flow.Head.BackZone
		half.Src, half.Dst, half.Sport, half.Dport = key.Dst, key.Src, key.Dport, key.Sport
		half.Head.Direction, half.Head.BackZone = datapath.DirectionReply, key.Zone
		put(key, flow)
		put(other, half)
	}
	return int(n)
}

func TestBadConntrack(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	expectBad(l, []badInput{
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
	})
}
