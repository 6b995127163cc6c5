package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/api"
)

func TestDropLines(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 15, 4, 5, 6000, time.UTC)
	stamp := at.Local().Format(dropTime)
	for want, d := range map[string]api.Drop{
		"container spoofed-address 172.17.0.9:1 > 198.51.100.7:80 tcp [S] length 60 (device=veth1, from=net00, mac=02:42:ac:11:00:02, why=it lies)": {
			Reason: "spoofed-address", Description: "it lies", Hook: "container", Device: "veth1", Sender: "net00",
			Packet: "172.17.0.9:1 > 198.51.100.7:80 tcp [S]", Length: 60, SourceMAC: "02:42:ac:11:00:02",
		},
		"uplink    unpublished     192.0.2.2 > 172.17.0.2 icmp length 84 (device=eth0, to=net00, why=nobody asked)": {
			Reason: "unpublished", Description: "nobody asked", Hook: "uplink", Device: "eth0", Receiver: "net00",
			Packet: "192.0.2.2 > 172.17.0.2 icmp", Length: 84, SourceMAC: "02:42:ac:11:00:02",
		},
		"-         no-route        12 more, not shown (why=nowhere)": {Reason: "no-route", Description: "nowhere", NotShown: 12},
	} {
		d.Time = at
		if got := dropLine(d); got != stamp+" "+want {
			t.Errorf("got  %s\nwant %s %s", got, stamp, want)
		}
	}
}

func TestMonitorWithoutDaemon(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		"monitor":                        "--drops",
		"monitor --drops nonsense":       "nonsense",
		"monitor --drops":                "`sluice daemon`",
		"monitor --drops --format {{":    "--format",
		"monitor --drops --format table": "--format",
	} {
		code, stdout, stderr := runCLI(t, strings.Fields(line)...)
		if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit code %d; printed %q, said %q", line, code, stdout, stderr)
		}
	}
}
