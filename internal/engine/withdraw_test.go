package engine

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// ranged is tcp with as many container ports as the last says.
func ranged(first, last, target, targetLast uint16) PublishedPort {
	p := tcp(first, last, target)
	p.TargetLast = targetLast
	return p
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	ports := []PublishedPort{
		ranged(8080, 8080, 80, 80), ranged(8081, 8081, 80, 80).on("127.0.0.1"),
		ranged(9000, 9009, 90, 99), ranged(7000, 7009, 70, 70), ranged(0, 0, 60, 62),
	}
	for _, c := range []struct {
		request PublishedPort
		want    string // "" for an error
	}{
		{ranged(8080, 8080, 80, 80), "[8080:80/tcp]"},
		{ranged(0, 0, 80, 80), "[8080:80/tcp 127.0.0.1:8081:80/tcp]"},
		{ranged(0, 0, 80, 80).on("127.0.0.1"), "[127.0.0.1:8081:80/tcp]"},
		{ranged(9000, 9009, 90, 99), "[9000-9009:90-99/tcp]"},
		{ranged(0, 0, 90, 99), "[9000-9009:90-99/tcp]"},
		{ranged(7000, 7009, 70, 70), "[7000-7009:70/tcp]"},
		{ranged(0, 0, 60, 62), "[60-62/tcp]"},
		{ranged(8081, 8081, 80, 80), ""},
		{ranged(9000, 9000, 90, 90), ""},
		{ranged(7000, 7000, 70, 70), ""},
		{ranged(24576, 24576, 60, 60), ""},
	} {
		kept, withdrawn, err := Withdraw("net00", ports, []PublishedPort{c.request})
		if c.want == "" {
			wantError(t, err, 404, "net00 does not publish "+c.request.String())
			continue
		}
		must(t, err)
		if got := fmt.Sprint(withdrawn); got != c.want || len(kept)+len(withdrawn) != len(ports) {
			t.Errorf("%s: withdrawn %s, want %s; kept %v", c.request, got, c.want, kept)
		}
	}
}

// TestForgetMany withdraws ports by the thousand, and logs how long that takes.
func TestForgetMany(t *testing.T) {
	t.Parallel()
	var requests, withdrawn []PublishedPort
	for port := uint16(10000); port < 20000; port++ {
		p := tcp(port, port, 80)
		requests = append(requests, p)
		p.HostAddr = netip.IPv4Unspecified()
		withdrawn = append(withdrawn, p)
	}
	began := time.Now()
	left := Forget(requests, withdrawn, nil)
	t.Logf("%d ports: %v", len(withdrawn), time.Since(began))
	if len(left) != 0 {
		t.Errorf("%d are left", len(left))
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		requests, withdrawn []PublishedPort
		want                string
	}{
		{[]PublishedPort{ranged(8080, 8080, 80, 80), ranged(8081, 8081, 80, 80)}, []PublishedPort{ranged(8080, 8080, 80, 80)}, "[8081:80/tcp]"},
		{[]PublishedPort{ranged(0, 0, 80, 80), ranged(0, 0, 80, 80)}, []PublishedPort{ranged(24576, 24576, 80, 80)}, "[80/tcp]"},
		{[]PublishedPort{ranged(8000, 8010, 80, 80)}, []PublishedPort{ranged(8001, 8001, 80, 80)}, "[]"},
		{[]PublishedPort{ranged(9000, 9009, 90, 99)}, []PublishedPort{ranged(9000, 9009, 90, 99)}, "[]"},
		{[]PublishedPort{ranged(0, 0, 90, 92)}, []PublishedPort{ranged(24577, 24577, 91, 91)}, "[90/tcp 92/tcp]"},
		{[]PublishedPort{ranged(0, 0, 90, 92)}, []PublishedPort{ranged(24576, 24576, 90, 90), ranged(24578, 24578, 92, 92)}, "[91/tcp]"},
		{[]PublishedPort{ranged(0, 0, 1, 65535)}, []PublishedPort{ranged(24576, 24576, 65535, 65535), ranged(24577, 24577, 1, 1)}, "[2-65534/tcp]"},
		{[]PublishedPort{ranged(0, 0, 80, 80).on("127.0.0.1")}, []PublishedPort{ranged(24576, 24576, 80, 80).on("127.0.0.1")}, "[]"},
	} {
		if got := fmt.Sprint(Forget(c.requests, c.withdrawn, nil)); got != c.want {
			t.Errorf("%v without %v: %s, want %s", c.requests, c.withdrawn, got, c.want)
		}
	}
}

func TestCheckApart(t *testing.T) {
	t.Parallel()
	must(t, CheckApart([]PublishedPort{
		ranged(8080, 8080, 80, 80).on("127.0.0.1"), ranged(8080, 8080, 80, 80).on("127.0.0.2"), ranged(8081, 8081, 80, 80),
		ranged(0, 0, 80, 80), ranged(0, 0, 80, 80), ranged(8080, 8090, 80, 80), ranged(8080, 8090, 80, 80),
	}))
	for _, requests := range [][]PublishedPort{
		{ranged(8080, 8080, 80, 80), ranged(8080, 8080, 80, 80)},
		{ranged(8080, 8080, 80, 80), ranged(8080, 8080, 81, 81).on("127.0.0.1")},
		{ranged(8080, 8080, 80, 80), ranged(8000, 8100, 1000, 1100)},
	} {
		wantError(t, CheckApart(requests), 409, "8080 failed: port is already allocated")
	}
}
