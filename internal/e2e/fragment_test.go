package e2e

import (
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/lab"
)

// TestLargeDatagrams covers UDP datagrams that the sender's stack cuts into
// fragments, each way through masquerade, a published port and an alias.
func TestLargeDatagrams(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := lab.New(t)
		f.network(l, "custombridge")
		runServer(l, "net00", "udp-echo", ":53", "--net=custombridge", "--net-alias=rr", "-p", "5353:53/udp")
		l.OK("run", "-d", "--name=net01", "--net=custombridge")
		l.Client.Background(selfPath, "udp-echo", ":7000")
		large := strings.Repeat("0123456789", 900)
		expect := func(what, answer string) {
			t.Helper()
			if _, message, _ := strings.Cut(answer, " "); message != large {
				t.Errorf("%s: %d bytes of %d came back", what, len(message), len(large))
			}
		}
		service := port(f.vip(l, "rr"), "53")
		expect("masqueraded", persistInside(l, "net00", "udp-ask", port(f.client, "7000"), large))
		expect("published", datagram(l.Client, port(f.host, "5353"), large))
		expect("published, from another container", persistInside(l, "net01", "udp-ask", port(f.host, "5353"), large))
		expect("by an alias", persistInside(l, "net01", "udp-ask", service, large))
		expect("by an alias, from the host", datagram(l.Host, service, large))
		out := l.OK("exec", "net01", "busybox", "ping", "-c", "1", "-s", "4000", "-W", "5", f.far)
		if !strings.Contains(out, "1 packets received") {
			t.Errorf("a large ping: %s", out)
		}
	})
}

// TestDatagramsFindTheMTU covers packets that the uplink does not take, and that
// their sender has not forbidden to cut. Nobody cuts them (docs/design/mtu.md says
// why), but it is told, and cuts the next ones smaller itself.
func TestDatagramsFindTheMTU(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		setMTU(l.Host, "eth0", 1300)
		setMTU(l.Client, "eth0", 1300)
		runServer(l, "net00", "udp-echo", ":53", "-p", "5353:53/udp")
		l.OK("run", "-d", "--name=net01")
		l.Client.Background(selfPath, "udp-echo", port(f.client, "7000"))
		large := strings.Repeat("0123456789", 400)
		for what, answer := range map[string]string{
			"masqueraded": persistInside(l, "net01", "udp-ask", port(f.client, "7000"), large),
			"published":   datagram(l.Client, port(f.host, "5353"), large),
		} {
			if _, message, _ := strings.Cut(answer, " "); message != large {
				t.Errorf("%s: %d bytes of %d came back", what, len(message), len(large))
			}
		}
		if got := systemInfo(l).Drops["mtu-exceeded"]; got == 0 {
			t.Error("nobody was told")
		}
	})
}
