package e2e

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/lab"
)

var soakFlaps = flag.Int("soak.flaps", 1, "how often each thing happens to the uplink in the soak `uplinks`")

// outage is how long the uplink is away, and recovery how long nothing happens then:
// neighbour discovery may take a second to ask again (RFC 4861 10), and TCP's next
// try must not come in the next outage.
const (
	outage   = 300 * time.Millisecond
	recovery = 4 * time.Second
)

// soakUplinks lets everything happen to the uplink that its connections outlive,
// and at last gives the host other addresses, which those that were masqueraded by
// the old ones do not.
func soakUplinks(t *testing.T, _ uint64) {
	l := newLoadLab(t)
	ways := l.ways(families...)
	for _, e := range uplinkEvents {
		kept := l.startLoad(*soakConnections, ways)
		begin := time.Now()
		for range *soakFlaps {
			e.happen(l)
			time.Sleep(recovery)
		}
		t.Logf("%s, %d times in %v:", e.name, *soakFlaps, time.Since(begin).Round(time.Second))
		kept.expectKept()
	}
	l.expectOtherAddresses()
	expectInvariants(l.Lab)
}

// uplinkEvents are what connections outlive, in this order.
var uplinkEvents = []struct {
	name   string
	happen func(l *loadLab)
}{
	{"a lease is renewed", func(l *loadLab) {
		l.Host.Output("ip", "addr", "change", lab.HostAddr+"/24", "dev", "eth0", "valid_lft", "3600", "preferred_lft", "1800")
		l.Host.Output("ip", "addr", "change", lab.HostAddr6+"/64", "dev", "eth0", "valid_lft", "3600", "preferred_lft", "1800")
	}},
	{"the cable is out", func(l *loadLab) {
		l.Client.Output("ip", "link", "set", "eth0", "down")
		time.Sleep(outage)
		l.Client.Output("ip", "link", "set", "eth0", "up")
		l.restoreClient()
	}},
	{"the device is down", func(l *loadLab) {
		l.Host.Output("ip", "link", "set", "eth0", "down")
		time.Sleep(outage)
		l.Host.Output("ip", "link", "set", "eth0", "up")
		l.restoreHost(lab.HostAddr, lab.HostAddr6)
	}},
	{"the device is deleted and made again", func(l *loadLab) {
		l.Host.Output("ip", "link", "del", "eth0")
		time.Sleep(outage)
		lab.Veth(l.Host, "eth0", l.Client, "eth0")
		l.restoreClient()
		l.restoreHost(lab.HostAddr, lab.HostAddr6)
	}},
}

// restoreHost gives the uplink addresses and the default routes, as whatever
// configures a host's network does.
func (l *loadLab) restoreHost(addr, addr6 string) {
	l.Helper()
	configure(l.Host,
		"addr replace "+addr+"/24 dev eth0", "addr replace "+addr6+"/64 dev eth0 nodad",
		"route replace default via "+lab.ClientAddr, "-6 route replace default via "+lab.ClientAddr6)
}

// restoreClient does so with the client's, which have gone with its device.
func (l *loadLab) restoreClient() {
	l.Helper()
	configure(l.Client, "addr replace "+lab.ClientAddr+"/24 dev eth0", "addr replace "+lab.ClientAddr6+"/64 dev eth0 nodad")
}

// configure gives commands to ip.
func configure(n *lab.Namespace, commands ...string) {
	for _, command := range commands {
		n.Output("ip", strings.Fields(command)...)
	}
}

// expectOtherAddresses gives the host other addresses: connections that do not
// have the old ones go on, those that were masqueraded by them end at once, and new
// ones have the new ones, in either direction.
func (l *loadLab) expectOtherAddresses() {
	l.Helper()
	const other, other6 = "192.0.2.77", "2001:db8:2::77"
	ways := l.ways(families...)
	only := func(name string) []loadWay {
		return slices.DeleteFunc(slices.Clone(ways), func(w loadWay) bool { return !strings.HasPrefix(w.name, name) })
	}
	inside, masqueraded := l.startLoad(*soakConnections, only("alias")), l.startLoad(*soakConnections, only("masqueraded"))
	configure(l.Host, "addr del "+lab.HostAddr+"/24 dev eth0", "addr del "+lab.HostAddr6+"/64 dev eth0")
	l.restoreHost(other, other6)
	time.Sleep(3 * loadBeat)
	l.Log("other addresses:")
	inside.expectKept()
	const reset = "connection reset by peer"
	if r := masqueraded.stop(); r.Lost != r.Connections || r.Errors["read: read: "+reset]+r.Errors["write: write: "+reset] != uint64(r.Lost) {
		l.Errorf("of %d connections masqueraded by the old addresses %d have ended: %v", r.Connections, r.Lost, r.Errors)
	}
	for i, f := range families {
		l.Host.Eventually("a published port at the new address", func() error {
			if r := ask(l.Client, "tcp-peer", port([]string{other, other6}[i], "8080")); r.Code != 0 {
				return fmt.Errorf("%s", r.Stderr)
			}
			return nil
		})
		if r := ask(l.Client, "tcp-peer", port(f.host, "8080")); r.Code == 0 {
			l.Errorf("a published port answers at %s, which is gone", f.host)
		}
	}
	l.startLoad(*soakConnections, only("masqueraded")).expectKept()
}
