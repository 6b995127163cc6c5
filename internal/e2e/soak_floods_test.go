package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/conntrack"
	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/loader"
)

var soakFlood = flag.Int("soak.flood", 10000, "packets of each flood of the soak `floods`, each of which begins a flow")

// floodTables are the sizes of the tables: what a flood brings fills that of young
// flows many times over, and what comes and goes meanwhile adds to the established
// connections in the other.
func floodTables() (tenured, young int) {
	return *soakConnections*5/4 + 200, min(*soakFlood/8, loader.DefaultConntrackMax)
}

// floodNets are where the packets of floods of a family come from, or go to:
// nobody is in `silent`, and the client in `near`.
type floodNets struct{ silent, near netip.Prefix }

var floodNetsOf = map[string]floodNets{
	"IPv4": {netip.MustParsePrefix("198.18.0.0/16"), netip.MustParsePrefix("198.19.0.0/16")},
	"IPv6": {netip.MustParsePrefix("2001:db8:f::/112"), netip.MustParsePrefix("2001:db8:e::/112")},
}

// soakFloods begins flows by the million, by a published port and by masquerade,
// answered or not, beside established connections and such as come and go.
func soakFloods(t *testing.T, seed uint64) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			x := newFloodLab(t, f)
			ways := x.ways(f)
			before := residentKB(x.Lab)
			kept := x.startLoad(*soakConnections, ways)
			long := x.startChurn("100ms", "4s", ways)
			time.Sleep(loadBeat)
			for i, k := range x.floods() {
				k.order.Seed = seed + uint64(i)
				x.run(k, ways)
			}
			lived := long.stop()
			t.Logf("those that lived for 4 s: %v", lived)
			if lived.Failed > 0 {
				t.Error("some of those that lived for 4 s were lost")
			}
			kept.expectKept()
			x.Logf("the daemon: %d KB before, %d KB after; halves %v, drops: %s",
				before, residentKB(x.Lab), x.entries(), named(systemInfo(x.Lab).Drops))
			x.expectQuiet(ways)
		})
	}
}

// floodLab is a loadLab with a container whose ports are flooded.
type floodLab struct {
	*loadLab
	family family
	nets   floodNets
}

func newFloodLab(t *testing.T, f family) *floodLab {
	t.Helper()
	tenured, young := floodTables()
	l := newLoadLab(t, "--conntrack-max", fmt.Sprint(tenured), "--conntrack-new-max", fmt.Sprint(young))
	x := &floodLab{loadLab: l, family: f, nets: floodNetsOf[f.name]}
	runServer(l.Lab, "flooded", "tcp-echo", ":80", "--net=dual", "-p", "8081:80", "-p", "5353:53/udp")
	runServer(l.Lab, "flooded-udp", "udp-echo", ":53", "--net=container:flooded")
	datagram(l.Client, port(f.host, "5353"), "up?")
	greeting(l.Client, port(f.host, "8081"))
	// Whoever is there answers nobody, or is the client.
	lab.NamespaceAt(t, sandboxOf(l.Lab, "flooded")).Output("ip", "route", "add", "blackhole", x.nets.silent.String())
	l.Client.Output("ip", "route", "add", "local", x.nets.near.String(), "dev", "lo")
	return x
}

// floodKind is a flood, and where it comes from.
type floodKind struct {
	name     string
	from     *lab.Namespace
	order    floodOrder
	answered bool
	left     []string // flags of `conntrack ls`, for the flows that it leaves
}

func (x *floodLab) floods() []floodKind {
	host := netip.MustParsePrefix(whole(x.family.host))
	beside := netip.MustParsePrefix(whole(x.family.addressOf(x.Lab, "beside", "dual")))
	hostMAC := macOf(x.Host, "eth0").String()
	gateway := macOf(x.Host, bridgeOf(x.Lab, "dual")).String()
	published := func(syn bool, from netip.Prefix, port uint16) floodKind {
		order := floodOrder{SYN: syn, MAC: hostMAC, Sources: from, Destinations: host, Port: port}
		return x.flood("published", x.Client, order, "--src", from)
	}
	masqueraded := func(syn bool, to netip.Prefix, port uint16) floodKind {
		order := floodOrder{SYN: syn, MAC: gateway, Sources: beside, Destinations: to, Port: port}
		return x.flood("masqueraded", x.beside, order, "--dst", to)
	}
	return []floodKind{
		published(false, x.nets.silent, 5353),
		published(false, x.nets.near, 5353),
		published(true, x.nets.silent, 8081),
		published(true, x.nets.near, 8081),
		masqueraded(false, x.nets.silent, 9),
		masqueraded(true, x.nets.silent, 9),
		masqueraded(true, x.nets.near, 7000),
	}
}

// flood is one whose flows have a network at one end: --src or --dst.
func (x *floodLab) flood(way string, from *lab.Namespace, order floodOrder, end string, network netip.Prefix) floodKind {
	order.Device, order.Count = "eth0", *soakFlood
	name, protocol := way+", UDP", "udp"
	if order.SYN {
		name, protocol = way+", SYN", "tcp"
	}
	answered := network == x.nets.near
	if answered {
		name += ", answered"
	}
	return floodKind{name, from, order, answered, []string{"--proto", protocol, end, network.String()}}
}

// run sends one flood to its end, while short connections are made.
func (x *floodLab) run(k floodKind, ways []loadWay) {
	x.Helper()
	order, err := json.Marshal(k.order)
	if err != nil {
		x.Fatal(err)
	}
	short := x.startChurn("20ms", "0s", ways)
	var r floodResult
	sent := k.from.RunWithin(10*time.Minute, selfPath, "flood", string(order))
	if sent.Code != 0 {
		x.Fatalf("%s: %s", k.name, sent.Stderr)
	}
	if err := json.Unmarshal([]byte(sent.Stdout), &r); err != nil {
		x.Fatal(err)
	}
	entries, made := x.entries(), short.stop()
	x.expectAnswered(k)
	x.Logf("%s %-26s %d packets, %7.0f a second, halves %v: %v", time.Now().Format("15:04:05"), k.name, r.Sent, float64(r.Sent)/r.Seconds, entries, made)
	if 2*made.Failed > made.Tried {
		x.Errorf("%s: most new connections failed", k.name)
	}
}

// expectAnswered asserts that a flood was what it is called, by what it has left:
// a host with so much to do does not answer everybody.
func (x *floodLab) expectAnswered(k floodKind) {
	x.Helper()
	count := func(state ...string) int {
		x.Helper()
		n, err := strconv.Atoi(x.OK(slices.Concat([]string{"conntrack", "ls", "--count"}, k.left, state)...))
		if err != nil {
			x.Fatal(err)
		}
		return n
	}
	state := conntrack.Unreplied
	if k.order.SYN {
		state = conntrack.SYNSent
	}
	all := count()
	answered := all - count("--state", state)
	x.Logf("%s: %d of %d flows that are left were answered", k.name, answered, all)
	if all == 0 || k.answered != (10*answered > all) {
		x.Errorf("%s, but %d of %d flows were answered", k.name, answered, all)
	}
}

// entries are how many halves of flows there are, of those that have proved
// themselves and of young ones.
func (x *floodLab) entries() [2]int {
	x.Helper()
	all := systemInfo(x.Lab).MapEntries
	if x.family.is6() {
		return [2]int{all["flows6"], all["nursery6"]}
	}
	return [2]int{all["flows4"], all["nursery4"]}
}

// expectQuiet asserts that everything works once the floods are over.
func (x *floodLab) expectQuiet(ways []loadWay) {
	x.Helper()
	c := x.startChurn("20ms", "0s", ways)
	time.Sleep(time.Second)
	if r := c.stop(); r.Failed > 0 || r.Tried == 0 {
		x.Errorf("after the floods: %v", r)
	}
	expectInvariants(x.Lab)
}

// residentKB is how much memory the daemon has.
func residentKB(l *lab.Lab) int {
	l.Helper()
	for line := range strings.Lines(readFile(l, fmt.Sprintf("/proc/%d/status", l.Daemon()))) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				l.Fatal(err)
			}
			return kb
		}
	}
	l.Fatal(os.ErrNotExist)
	return 0
}
