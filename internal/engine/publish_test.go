package engine

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/hostnet"
)

func TestPublishAndUnpublish(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	ep := f.createEndpoint("bridge")
	before := f.snapshot()
	f.datapath.takeCalls()
	ports, err := f.Publish(ctx, ep.ID, []PublishedPort{tcp(8080, 8080, 80), tcp(9000, 9009, 90)})
	must(t, err)
	if got := fmt.Sprint(ports); got != "[0.0.0.0:8080:80/tcp 0.0.0.0:9000-9009:90-99/tcp]" {
		t.Errorf("published %s", got)
	}
	want := []string{"SetEndpoint 1 ready=true translated=true", "SetRules [2 3]"}
	if got := f.datapath.takeCalls(); !slices.Equal(got, want) {
		t.Errorf("calls: %q", got)
	}
	stored, err := f.Endpoint(ep.ID)
	must(t, err)
	if !slices.Equal(stored.Ports, ports) {
		t.Errorf("stored %v", stored.Ports)
	}

	_, err = f.Unpublish(ctx, ep.ID, []PublishedPort{tcp(8080, 8080, 80), tcp(8081, 8081, 80)})
	wantError(t, err, 404, "net00 does not publish 8081:80/tcp")
	_, err = f.Unpublish(ctx, ep.ID, []PublishedPort{tcp(8080, 8080, 80)})
	must(t, err)
	want = []string{"ClearRules [2]", "SetEndpoint 1 ready=true translated=true"}
	if got := f.datapath.takeCalls(); !slices.Equal(got, want) {
		t.Errorf("calls: %q", got)
	}
	_, err = f.Unpublish(ctx, ep.ID, []PublishedPort{tcp(9000, 9009, 90)})
	must(t, err)
	want = []string{"ClearRules [3]", "SetEndpoint 1 ready=true translated=false"}
	if got := f.datapath.takeCalls(); !slices.Equal(got, want) {
		t.Errorf("calls: %q", got)
	}
	f.wantUnchanged(strings.Replace(before, `"Ports":null`, `"Ports":[]`, 1))
}

func TestPublishConflicts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.createEndpoint("bridge", tcp(8080, 8080, 80), tcp(9000, 9009, 9000), tcp(7000, 7000, 80).on("127.0.0.1"))
	req := f.request("bridge")
	udp := tcp(8080, 8080, 80)
	udp.Protocol = unix.IPPROTO_UDP
	before := f.snapshot()
	for _, c := range []struct {
		port PublishedPort
		want string
	}{
		{tcp(8080, 8080, 81), "Bind for 0.0.0.0:8080 failed: port is already allocated"},
		{tcp(8000, 8100, 8000), "Bind for 0.0.0.0:8080 failed: port is already allocated"},
		{tcp(8080, 8080, 80).on("127.0.0.1"), "Bind for 127.0.0.1:8080 failed: port is already allocated"},
		{tcp(9009, 9010, 80), "Bind for 0.0.0.0:9009 failed: port is already allocated"},
		{tcp(7000, 7000, 80), "Bind for 0.0.0.0:7000 failed: port is already allocated"},
		{tcp(7000, 7000, 80).on("127.0.0.1"), "port is already allocated"},
		{tcp(1, 1, 80).on("203.0.113.1"), "the host has no address 203.0.113.1"},
	} {
		req.Ports = []PublishedPort{tcp(1000, 1000, 80), c.port}
		_, err := f.CreateEndpoint(context.Background(), req)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.port, err, c.want)
		}
		f.wantUnchanged(before)
	}
	req.Ports = []PublishedPort{udp, tcp(7000, 7000, 80).on("127.0.0.2"), tcp(7000, 7000, 80).on("192.0.2.1"), tcp(7000, 7000, 80).on("172.17.0.1")}
	_, err := f.CreateEndpoint(context.Background(), req)
	must(t, err)
}

func TestPublishTwiceInOneRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	req := f.request("bridge", tcp(8080, 8080, 80), tcp(8080, 8080, 81))
	before := f.snapshot()
	_, err := f.CreateEndpoint(context.Background(), req)
	wantError(t, err, 409, "Bind for 0.0.0.0:8080 failed: port is already allocated")
	f.wantUnchanged(before)
}

func TestSocketOfHostHoldsPort(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	listener, err := net.Listen("tcp4", "127.0.0.1:8080")
	must(t, err)
	defer listener.Close()
	ep, req := f.createEndpoint("bridge"), f.request("bridge", tcp(8000, 8100, 8000))
	before := f.snapshot()
	const want = "Bind for 0.0.0.0:8080 failed: address already in use: a process of the host has 127.0.0.1:8080"
	_, err = f.CreateEndpoint(context.Background(), req)
	wantError(t, err, 409, want)
	f.wantUnchanged(before)
	_, err = f.Publish(context.Background(), ep.ID, req.Ports)
	wantError(t, err, 409, want)
	f.wantUnchanged(before)
	_, err = f.Publish(context.Background(), ep.ID, []PublishedPort{tcp(8080, 8080, 80).on("192.0.2.1")})
	must(t, err)
}

func TestEngineChoosesPorts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	// Four ports lie outside the range, below it.
	must(t, os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("1028 65535"), 0))
	listener, err := net.Listen("tcp4", "0.0.0.0:1025")
	must(t, err)
	defer listener.Close()

	any80 := tcp(0, 0, 80)
	two := tcp(0, 0, 90)
	two.TargetLast = 91
	ep := f.createEndpoint("bridge", any80, two)
	if got := fmt.Sprint(ep.Ports); got != "[0.0.0.0:1024:80/tcp 0.0.0.0:1026:90/tcp 0.0.0.0:1027:91/tcp]" {
		t.Errorf("chosen: %s", got)
	}

	// Withdrawn by target; then the search goes on behind the last choice, and
	// leaves the free ports only when there are no others.
	_, err = f.Unpublish(context.Background(), ep.ID, []PublishedPort{two})
	must(t, err)
	for _, want := range []uint16{1026, 1027, 1028, 1029} {
		ports, err := f.Publish(context.Background(), ep.ID, []PublishedPort{any80})
		if err != nil || ports[0].First != want {
			t.Errorf("chosen again: %v, %v, want %d", ports, err, want)
		}
	}
}

func TestChoiceSpans(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		first, last uint16
		want        string
	}{
		{32768, 60999, "[{24576 32767} {1024 24575} {61000 65535} {32768 60999}]"},
		{1024, 65535, "[{1024 65535}]"},
		{1, 1000, "[{1024 65535} {1 1000}]"},
		{2000, 65535, "[{1024 1999} {2000 65535}]"},
	} {
		if got := fmt.Sprint(choiceSpans(test.first, test.last)); got != test.want {
			t.Errorf("%d-%d: %s, want %s", test.first, test.last, got, test.want)
		}
	}
}

func TestFirstFreeOfHostRange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	choice := tcp(8000, 8002, 80)
	choice.TargetLast = 80
	listener, err := net.Listen("tcp4", "127.0.0.1:8001")
	must(t, err)
	defer listener.Close()
	first, second := f.createEndpoint("bridge", choice), f.createEndpoint("bridge", choice)
	if got := fmt.Sprint(first.Ports, second.Ports); got != "[0.0.0.0:8000:80/tcp] [0.0.0.0:8002:80/tcp]" {
		t.Errorf("chosen: %s", got)
	}
	_, err = f.CreateEndpoint(context.Background(), f.request("bridge", choice))
	wantError(t, err, 409, "all ports are allocated")
	_, err = f.Unpublish(context.Background(), second.ID, []PublishedPort{choice})
	must(t, err)
}

func TestRules(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.createEndpoint("bridge", tcp(8080, 8080, 80))
	f.createNetwork(NetworkRequest{Name: "inside", Internal: true})
	f.createNetwork(NetworkRequest{Name: "alpha"})
	views, err := f.Rules()
	must(t, err)
	var got []string
	for _, v := range views {
		got = append(got, fmt.Sprintf("%d %s %s %d", v.Kind, v.Network.Name, v.Endpoint.Owner, v.Counters.Packets))
	}
	if want := []string{"1 alpha  3", "1 bridge  1", "2 bridge net00 2"}; !slices.Equal(got, want) {
		t.Errorf("rules %q, want %q", got, want)
	}
}

// TestUnreachable: a port stays published when its address leaves the host, and is
// known as one that nobody reaches until the address is back.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	req := f.request("bridge")
	for _, addr := range []string{"192.0.2.1", "0.0.0.0", "127.0.0.1", "172.17.0.1"} {
		port := tcp(8080+uint16(len(req.Ports)), 8080+uint16(len(req.Ports)), 80)
		port.HostAddr = netip.MustParseAddr(addr)
		req.Ports = append(req.Ports, port)
	}
	_, err := f.CreateEndpoint(context.Background(), req)
	must(t, err)
	if got := f.Unreachable(); len(got) > 0 {
		t.Errorf("while the host has every address: %v", got)
	}
	f.HostChanged(hostnet.State{Uplinks: hostState.Uplinks})
	if got := fmt.Sprint(f.Unreachable()); got != "[192.0.2.1:8080:80/tcp]" {
		t.Errorf("when it has lost one: %s", got)
	}
	f.HostChanged(hostState)
	if got := f.Unreachable(); len(got) > 0 {
		t.Errorf("when it is back: %v", got)
	}
}
