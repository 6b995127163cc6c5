package doctor

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/firewall"
	"github.com/sluice-net/sluice/internal/hostnet"
	"github.com/sluice-net/sluice/internal/portreserve"
	"github.com/sluice-net/sluice/loader"
)

// expect asserts findings by their status and words of theirs, "STATUS: words",
// and that problems of ours say what to do.
func expect(t *testing.T, what string, got []api.Finding, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d findings, want %d: %+v", what, len(got), len(want), got)
		return
	}
	for i, f := range got {
		status, words, _ := strings.Cut(want[i], ": ")
		if f.Status != status || !strings.Contains(f.Text+"; "+f.Advice, words) || f.Check != got[0].Check {
			t.Errorf("%s: %+v, want %s", what, f, want[i])
		}
		if f.Status == api.FindingProblem && f.Advice == "" {
			t.Errorf("%s: a problem without advice: %+v", what, f)
		}
		if f.Status == api.FindingOK && f.Advice != "" {
			t.Errorf("%s: advice where all is well: %+v", what, f)
		}
	}
}

func TestKernelChecks(t *testing.T) {
	t.Parallel()
	all := loader.Features{FIBSkipNeigh: true, FIBSource: true, CsumIPv6: true}
	expect(t, "no daemon", Daemon("", false), "problem: `sluice daemon`")
	expect(t, "daemon", Daemon("v1", true), "ok: v1")
	expect(t, "old kernel", Kernel("5.10", errors.New("this is Linux 5.10")), "problem: this is Linux 5.10")
	expect(t, "kernel", Kernel("6.12", nil), "ok: 6.12")
	expect(t, "new", Fallbacks(all, true, loader.AttachTCX), "ok: none")
	expect(t, "6.1", Fallbacks(loader.Features{}, false, loader.AttachClsact), "note: 6.6", "note: 6.7", "note: 6.3", "note: 6.16")
	expect(t, "--attach", Fallbacks(all, true, loader.AttachClsact), "note: leave --attach out")
	expect(t, "no JIT", JIT(false), "problem: net.core.bpf_jit_enable=1")
	expect(t, "JIT", JIT(true), "ok: machine code")
}

func TestMountChecks(t *testing.T) {
	t.Parallel()
	expect(t, "runs", BPFFS(Mounts{BPF: "/b", Mounted: true, Running: true}), "ok: mounted at /b")
	expect(t, "unmounted", BPFFS(Mounts{BPF: "/b", Running: true}), "problem: restart the daemon")
	expect(t, "private, mounted outside", BPFFS(Mounts{BPF: "/b", Mounted: true, Private: true}), "ok: mounted")
	expect(t, "private", BPFFS(Mounts{BPF: "/b", Private: true}), "problem: nsenter --net=PATH")
	expect(t, "to come", BPFFS(Mounts{BPF: "/b"}), "ok: will mount its own at /b")
	expect(t, "whole", Cgroup("/c", true, loader.SocketAttachment{}), "ok: published ports")
	expect(t, "a part", Cgroup("/c", false, loader.SocketAttachment{}), "note: if they are in /c")
	expect(t, "missing, and others", Cgroup("/c", true, loader.SocketAttachment{Missing: []string{"socket_bind4"}, Others: []string{"x"}}), "problem: socket_bind4", "note: x")
}

func TestRules(t *testing.T) {
	t.Parallel()
	ours := func(device string) bool { return device == "sluice0" || device == "sluice-fib" }
	expect(t, "none", Rules(nil, ours), "ok: no rule")
	expect(t, "of others", Rules([]hostnet.Rule{{Family: 4, IIF: "eth0"}, {Family: 4, IIF: "eth0", Not: true}, {Family: 4, IIF: "lo"}, {Family: 6, IIF: "sluice-fib"}}, ours), "ok: no rule")
	expect(t, "of ours", Rules([]hostnet.Rule{{Family: 4, Priority: 7, IIF: "sluice0"}, {Family: 6, Priority: 8, IIF: "sluice0", Not: true}}, ours),
		"problem: ip rule 7 (iif sluice0) never matches", "problem: ip -6 rule 8 (not iif sluice0) matches all")
}

func TestUplinks(t *testing.T) {
	t.Parallel()
	addr4, addr6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	good := Uplink{Uplink: hostnet.Uplink{Name: "eth0", Source4: addr4}, Routes: 2, Default: true}
	good6 := good
	good6.Source6, good6.Routes6, good6.Default6 = addr6, 2, true
	idle, lost, xdp, only := Uplink{Uplink: hostnet.Uplink{Name: "eth1"}}, Uplink{Uplink: hostnet.Uplink{Name: "eth1"}, Routes: 1}, good, good
	xdp.XDP, only.Default = "filter (program 7)", false
	expect(t, "none", Uplinks(nil, false), "problem: there are none")
	expect(t, "one", Uplinks([]Uplink{good}, false), "ok: eth0")
	expect(t, "both families", Uplinks([]Uplink{good6}, true), "ok: eth0")
	expect(t, "no IPv6", Uplinks([]Uplink{good}, true), "note: no default route of IPv6")
	expect(t, "IPv6 routes without an address", Uplinks([]Uplink{{Uplink: good.Uplink, Routes: 2, Default: true, Routes6: 1, Default6: true}}, true), "problem: no global IPv6 address")
	expect(t, "an idle one too", Uplinks([]Uplink{good, idle}, false), "note: eth1 has no IPv4 address, and no route")
	expect(t, "no address", Uplinks([]Uplink{good, lost}, false), "problem: dropped for `no-source`")
	expect(t, "XDP", Uplinks([]Uplink{xdp}, false), "note: filter (program 7)")
	expect(t, "no default route", Uplinks([]Uplink{only}, false), "note: no default route of IPv4")
}

func TestDeviceChecks(t *testing.T) {
	t.Parallel()
	expect(t, "whole", Devices(nil, 3), "ok: all 3")
	expect(t, "changed", Devices([]string{"sluice0 is down", "veth1 is gone"}, 3), "problem: sluice0 is down", "problem: veth1 is gone")
	expect(t, "known", Neighbours(nil), "ok: every endpoint")
	expect(t, "unknown", Neighbours([]string{"172.17.0.2 is no neighbour"}), "problem: 172.17.0.2 is no neighbour")
	attached := loader.Attachment{Attached: true}
	expect(t, "alone", Programs([]Hooked{{"uplink", "eth0", attached}, {"bridge", "sluice0", attached}}), "ok: all 2 devices")
	expect(t, "in company", Programs([]Hooked{
		{"uplink", "eth0", loader.Attachment{Attached: true, Before: []string{"first"}, Behind: []string{"second", "third"}}},
		{"bridge", "sluice0", loader.Attachment{Behind: []string{"other"}}},
	}), "note: eth0, hook uplink: others see packets before us, and may keep them: first", "note: second, third", "problem: sluice0, hook bridge: ours is not attached")
}

func TestPorts(t *testing.T) {
	t.Parallel()
	p := Ports{LocalFirst: 32768, LocalLast: 60999, LoadedFirst: 32768, LoadedLast: 60999, Published: map[string]portreserve.Ports{}}
	expect(t, "as usual", Masquerade(p), "ok: 36280 source ports")
	expect(t, "nothing published", Published(p), "ok: none of them")

	p.Published = map[string]portreserve.Ports{"tcp": portreserve.Range(8000, 8999), "udp": portreserve.Range(60990, 61010)}
	expect(t, "published", Masquerade(p), "ok: 35280 source ports")
	expect(t, "published inside the range", Published(p), "note: udp ports to a socket of the host, which then loses its answers to the container: 60990-60999")
	p.Reserved = portreserve.Range(60990, 60999)
	expect(t, "and reserved", Published(p), "ok: none of them")
	p.Unreachable = map[netip.Addr]map[string]portreserve.Ports{
		netip.MustParseAddr("203.0.113.9"): {"tcp": portreserve.Range(8080, 8089), "udp": portreserve.Range(8053, 8053)},
		netip.MustParseAddr("2001:db8::9"): {"tcp": portreserve.Range(8080, 8080)},
	}
	expect(t, "on addresses that are gone", Published(p), "problem: the address 203.0.113.9 no more, and nobody reaches the tcp ports that are published on it: 8080-8089; give",
		"problem: 203.0.113.9 no more, and nobody reaches the udp ports that are published on it: 8053;", "problem: 2001:db8::9 no more")

	p.LocalFirst = 1024
	expect(t, "the range has changed", Masquerade(p), "problem: is 1024-60999 now, and the programs keep out of 32768-60999")
	p.LoadedFirst = 1024
	p.Published = nil
	expect(t, "nearly enough", Masquerade(p), "ok: 4536 source ports")
	p.Published = map[string]portreserve.Ports{"tcp": portreserve.Range(61000, 62000)}
	expect(t, "too few for one protocol", Masquerade(p), "problem: 3535 tcp source ports")
	p.LoadedLast, p.OursNumber = 60999-8192, 8192
	expect(t, "reserved", Masquerade(p), "ok: 11727 source ports")
}

func TestConntrack(t *testing.T) {
	t.Parallel()
	expect(t, "room", Conntrack([]Flows{{"IPv4", 10, 100}, {"IPv6", 5, 100}}, nil), "ok: 15 established flows, and room for 100")
	expect(t, "nearly full, and kept", Conntrack([]Flows{{"IPv4", 90, 100}, {"IPv6", 0, 100}}, []loader.KeptSize{{Name: "nursery4", Has: 7, Asked: 9}}),
		"problem: 90 established flows of IPv4", "note: nursery4 was made with room for 7 flows, and 9 were asked for")
}

func TestFirewall(t *testing.T) {
	t.Parallel()
	calls := []string{"net.bridge.bridge-nf-call-iptables"}
	chain := func(hook firewall.Hook) firewall.Chain {
		return firewall.Chain{Hook: hook, Name: "ip filter " + string(hook)}
	}
	forward := []firewall.Chain{chain(firewall.Forward)}
	expect(t, "none", Firewall(Netfilter{}), "ok: no chain drops")
	expect(t, "FORWARD", Firewall(Netfilter{Dropping: forward}), "ok: does not matter")
	expect(t, "INPUT and OUTPUT", Firewall(Netfilter{Dropping: []firewall.Chain{chain(firewall.Input), chain(firewall.Output)}}), "note: ip filter INPUT", "note: ip filter OUTPUT")
	expect(t, "frames", Firewall(Netfilter{Dropping: []firewall.Chain{{Hook: firewall.Forward, Name: "bridge f c", Bridge: true}}}), "note: bridge f c")
	expect(t, "bridges call nobody", BridgeNetfilter(Netfilter{Dropping: forward}), "ok: off")
	expect(t, "bridges call who accepts", BridgeNetfilter(Netfilter{BridgeCalls: calls}), "ok: does not matter")
	expect(t, "bridges call who drops", BridgeNetfilter(Netfilter{BridgeCalls: calls, Dropping: forward}), "note: sysctl net.bridge.bridge-nf-call-iptables=0")
	expect(t, "rp_filter", ReversePath([]string{"eth0=1"}), "ok: eth0=1")
	expect(t, "no rp_filter", ReversePath(nil), "ok: off")
	if f := Failed("kernel", errors.New("EIO")); f[0].Status != api.FindingProblem || !strings.Contains(f[0].Text, "EIO") {
		t.Errorf("%+v", f)
	}
}
