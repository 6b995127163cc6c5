package engine

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/hostnet"
	bpfmaps "github.com/sluice-net/sluice/maps"
)

func TestPublishPerFamily(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dual()
	both := f.createEndpoint("dual", tcp(8080, 8080, 80), tcp(9000, 9009, 90))
	if got := fmt.Sprint(both.Ports); got != "[0.0.0.0:8080:80/tcp [::]:8080:80/tcp 0.0.0.0:9000-9009:90-99/tcp [::]:9000-9009:90-99/tcp]" {
		t.Errorf("published %s", got)
	}
	for i, p := range both.Ports {
		want := bpfmaps.Rule{
			Kind: bpfmaps.RulePublish, Protocol: unix.IPPROTO_TCP, HostAddr: p.HostAddr,
			First: p.First, Last: p.Last, Target: p.Target, Endpoint: both.Index,
		}
		if got := f.datapath.rules[p.Rule]; got != want {
			t.Errorf("rule %d is %+v, want %+v", i, got, want)
		}
	}
	only := f.createEndpoint("dual", tcp(8081, 8081, 80).on("::"), tcp(8082, 8082, 80).on("2001:db8::1"), tcp(8083, 8083, 80).on("0.0.0.0"), tcp(8084, 8084, 80).on("::1"))
	if got := fmt.Sprint(only.Ports); got != "[[::]:8081:80/tcp [2001:db8::1]:8082:80/tcp 0.0.0.0:8083:80/tcp [::1]:8084:80/tcp]" {
		t.Errorf("published %s", got)
	}
	// The other family's port is free.
	plain := f.createEndpoint("bridge", tcp(8081, 8081, 80))
	if got := fmt.Sprint(plain.Ports); got != "[0.0.0.0:8081:80/tcp]" {
		t.Errorf("an endpoint without IPv6 has published %s", got)
	}
}

func TestPublishRefuses6(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dual()
	f.createEndpoint("dual", tcp(8080, 8080, 80).on("::"), tcp(8081, 8081, 80).on("2001:db8::1"))
	listener, err := net.Listen("tcp6", "[::1]:7000")
	must(t, err)
	defer listener.Close()
	for name, c := range map[string]struct {
		network string
		port    PublishedPort
		status  int
		part    string
	}{
		"without IPv6":        {"bridge", tcp(9000, 9000, 80).on("::"), 400, "Bind for [::]:9000 failed: network bridge has no IPv6: make one with `network create --ipv6`"},
		"address, without":    {"bridge", tcp(9000, 9000, 80).on("2001:db8::1"), 400, "Bind for [2001:db8::1]:9000 failed: network bridge has no IPv6"},
		"taken":               {"dual", tcp(8080, 8080, 80), 409, "Bind for [::]:8080 failed: port is already allocated"},
		"taken by an address": {"dual", tcp(8000, 8100, 80).on("::"), 409, "Bind for [::]:8080 failed: port is already allocated"},
		"taken for every one": {"dual", tcp(8080, 8080, 80).on("2001:db8::1"), 409, "Bind for [2001:db8::1]:8080 failed"},
		"taken by a socket":   {"dual", tcp(7000, 7000, 80).on("::"), 409, "a process of the host has [::1]:7000"},
		"an address not ours": {"dual", tcp(9000, 9000, 80).on("2001:db8::99"), 400, "the host has no address 2001:db8::99"},
		"a range not ours":    {"dual", tcp(9000, 9009, 90).on("2001:db8::99"), 400, "Bind for [2001:db8::99]:9000-9009 failed"},
	} {
		port := c.port
		if port.First != port.Last {
			port.TargetLast = port.Target + port.Last - port.First
		}
		req := f.request(c.network, port)
		before := f.snapshot()
		_, err := f.CreateEndpoint(context.Background(), req)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		wantError(t, err, c.status, c.part)
		f.wantUnchanged(before)
	}
}

// TestChosenPortIsOneForBothFamilies covers a port that is free for one alone.
func TestChosenPortIsOneForBothFamilies(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dual()
	f.createEndpoint("dual", tcp(8000, 8000, 80).on("::"), tcp(8001, 8001, 80).on("0.0.0.0"))
	choice := tcp(8000, 8009, 80)
	choice.TargetLast = 80
	ep := f.createEndpoint("dual", choice)
	if got := fmt.Sprint(ep.Ports); got != "[0.0.0.0:8002:80/tcp [::]:8002:80/tcp]" {
		t.Errorf("chosen %s", got)
	}
	free := f.createEndpoint("dual", tcp(0, 0, 80))
	if len(free.Ports) != 2 || free.Ports[0].First != free.Ports[1].First {
		t.Errorf("chosen %v", free.Ports)
	}
}

func TestWithdrawPerFamily(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dual()
	requests := []PublishedPort{tcp(8080, 8080, 80).complete(), tcp(0, 0, 90).complete(), tcp(7000, 7000, 70).on("::").complete()}
	ep := f.createEndpoint("dual", requests...)
	chosen := ep.Ports[2].First
	for _, c := range []struct {
		withdraw []PublishedPort
		count    int    // that are withdrawn
		left     string // to be published with the next start
	}{
		{[]PublishedPort{tcp(8080, 8080, 80)}, 2, "[90/tcp [::]:7000:70/tcp]"},
		{[]PublishedPort{tcp(8080, 8080, 80).on("0.0.0.0")}, 1, "[[::]:8080:80/tcp 90/tcp [::]:7000:70/tcp]"},
		{[]PublishedPort{tcp(8080, 8080, 80).on("::")}, 1, "[0.0.0.0:8080:80/tcp 90/tcp [::]:7000:70/tcp]"},
		{[]PublishedPort{tcp(8080, 8080, 80).on("::"), tcp(8080, 8080, 80).on("0.0.0.0")}, 2, "[90/tcp [::]:7000:70/tcp]"},
		{[]PublishedPort{tcp(0, 0, 90)}, 2, "[8080:80/tcp [::]:7000:70/tcp]"},
		{[]PublishedPort{tcp(chosen, chosen, 90).on("::")}, 1, "[8080:80/tcp 0.0.0.0::90/tcp [::]:7000:70/tcp]"},
		{[]PublishedPort{tcp(0, 0, 70)}, 1, "[8080:80/tcp 90/tcp]"},
		{[]PublishedPort{tcp(0, 0, 70).on("::")}, 1, "[8080:80/tcp 90/tcp]"},
		{[]PublishedPort{tcp(8080, 8080, 80), tcp(0, 0, 90), tcp(0, 0, 70)}, 5, "[]"},
	} {
		kept, withdrawn, err := Withdraw("net00", ep.Ports, c.withdraw)
		must(t, err)
		if len(withdrawn) != c.count || len(kept) != len(ep.Ports)-c.count {
			t.Errorf("%v: withdrawn %v, kept %v", c.withdraw, withdrawn, kept)
		}
		if got := fmt.Sprint(Forget(requests, withdrawn, kept)); got != c.left {
			t.Errorf("%v: left %s, want %s", c.withdraw, got, c.left)
		}
	}
	_, _, err := Withdraw("net00", ep.Ports, []PublishedPort{tcp(7000, 7000, 70).on("0.0.0.0")})
	wantError(t, err, 404, "net00 does not publish 0.0.0.0:7000:70/tcp")

	withdrawn, err := f.Unpublish(context.Background(), ep.ID, []PublishedPort{tcp(8080, 8080, 80).on("0.0.0.0")})
	must(t, err)
	if _, there := f.datapath.rules[withdrawn[0].Rule]; there || len(withdrawn) != 1 {
		t.Errorf("withdrawn %v", withdrawn)
	}
	now, err := f.Endpoint(ep.ID)
	twin, _ := claimOf(withdrawn[0]).twin()
	if _, stays := byClaim(now.Ports)[twin]; err != nil || !stays {
		t.Errorf("left is %v, %v", now.Ports, err)
	}
}

func TestWhoseConnectionsEnd(t *testing.T) {
	t.Parallel()
	to := func(remote string) hostnet.Connection {
		return hostnet.Connection{Protocol: unix.IPPROTO_TCP, Remote: netip.MustParseAddrPort(remote)}
	}
	every4, every6 := tcp(8080, 8080, 80).on("0.0.0.0"), tcp(8080, 8080, 80).on("::")
	for _, c := range []struct {
		port          PublishedPort
		remote, asked string
		want          bool
	}{
		{every4, "172.20.0.2:80", "127.0.0.1:8080", true},
		{every4, "172.20.0.2:80", "[::1]:8080", true},
		{every4, "172.20.0.2:80", "127.0.0.1:8081", false},
		{every4, "[fd00:20::2]:80", "[::1]:8080", false},
		{every6, "[fd00:20::2]:80", "[::1]:8080", true},
		{every6, "172.20.0.2:80", "[::1]:8080", false},
		{tcp(8080, 8080, 80).on("2001:db8::1"), "[fd00:20::2]:80", "[2001:db8::1]:8080", true},
		{tcp(8080, 8080, 80).on("2001:db8::1"), "[fd00:20::2]:80", "[::1]:8080", false},
		{tcp(8080, 8080, 80).on("127.0.0.1"), "172.20.0.2:80", "[::1]:8080", true},
	} {
		if got := c.port.takes(to(c.remote), netip.MustParseAddrPort(c.asked)); got != c.want {
			t.Errorf("%s, asked for %s, got %s: %v", c.port, c.asked, c.remote, got)
		}
	}
}

func TestCheckApartPerFamily(t *testing.T) {
	t.Parallel()
	must(t, CheckApart([]PublishedPort{tcp(8080, 8080, 80).on("::"), tcp(8080, 8080, 80).on("0.0.0.0")}))
	wantError(t, CheckApart([]PublishedPort{tcp(8080, 8080, 80), tcp(8080, 8080, 80).on("::")}), 409, "already allocated")
}
