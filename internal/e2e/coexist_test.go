package e2e

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

// everyWay asserts that all that sluice does works: each way by TCP and UDP, of
// IPv4 and IPv6. The lab has been set up by everyWayLab.
func everyWay(t testing.TB, l *lab.Lab) {
	t.Helper()
	for _, f := range families {
		f.everyWay(t, l)
	}
}

func (f family) everyWay(t testing.TB, l *lab.Lab) {
	t.Helper()
	service, beside := port(f.vip(l, "rr"), "80"), f.addressOf(l, "m1", "custombridge")
	greeting(l.Client, port(f.host, "8080"))
	datagram(l.Client, port(f.host, "8080"), "from outside")
	for _, addr := range []string{port(f.loopback, "8080"), port(f.host, "8080"), service, port(f.inOther, "80")} {
		greeting(l.Host, addr)
		datagram(l.Host, addr, "from the host")
	}
	persist(l.Host, "udp-ask-from", port(f.loopback, "0"), port(f.loopback, "8080"), "bound")
	for _, addr := range []string{port(f.far, "7"), port(f.host, "8080"), port(beside, "80"), service} {
		greetingInside(l, "m0", addr)
		persistInside(l, "m0", "udp-ask", addr, "from inside")
	}
	for _, addr := range []string{f.far, f.other, beside} {
		expectPing(l, "m0", addr)
	}
}

// everyWayLab is a lab with two members of an alias, one of them published, and
// servers outside. prepare runs before the daemon.
func everyWayLab(t *testing.T, prepare func(l *lab.Lab), args ...string) *lab.Lab {
	t.Helper()
	l := lab.NewWithoutDaemon(t)
	prepare(l)
	l.StartDaemon(args...)
	for _, f := range families {
		l.Client.Background(selfPath, "tcp-echo", port(f.far, "7"))
		l.Client.Background(selfPath, "udp-echo", port(f.far, "7"))
	}
	l.OK("network", "create", "--ipv6", "--subnet="+families[0].subnet, "--subnet="+families[1].subnet, "custombridge")
	runServer(l, "m0", "member", ":80", "--network=custombridge", "--network-alias=rr", "-p", "8080:80", "-p", "8080:80/udp")
	runServer(l, "m1", "member", ":80", "--network=custombridge", "--network-alias=rr")
	return l
}

// stateful is a firewall as hosts have it: conntrack of the host's own, and
// nothing that is forwarded, as dockerd sets it.
const stateful = `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp --icmp-type echo-request -j ACCEPT
-A FORWARD -j DROP
-A OUTPUT -m conntrack --ctstate INVALID -j DROP
COMMIT
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -m rpfilter --invert -j DROP
COMMIT
`

// stateful6 is the same for IPv6, which needs neighbour discovery. What containers
// say to groups comes by when bridges call.
var stateful6 = strings.NewReplacer(
	"-p icmp --icmp-type echo-request", "-p ipv6-icmp",
	"-A FORWARD", "-A FORWARD -d ff00::/8 -j DROP\n-A FORWARD",
).Replace(stateful)

// statefulInet is the same for both families, in nftables.
const statefulInet = `table inet guard {
	chain input {
		type filter hook input priority 0; policy drop
		iifname "lo" accept
		ct state invalid drop
		ct state established,related accept
		meta l4proto { icmp, ipv6-icmp } accept
	}
	chain forward {
		type filter hook forward priority 0; policy drop
		ip6 daddr ff00::/8 drop
		counter drop
	}
	chain output {
		type filter hook output priority 0; policy accept
		ct state invalid drop
	}
}
`

// TestBesideFirewalls covers what of the host's stack must not be in the way:
// rp_filter, a FORWARD policy of DROP, conntrack and rules about its state, in
// iptables and nftables, and bridges that call iptables.
func TestBesideFirewalls(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{"1", "2"} {
		t.Run("rp_filter "+filter, func(t *testing.T) {
			t.Parallel()
			l := everyWayLab(t, func(l *lab.Lab) {
				setSysctls(l.Host, "ipv4/conf/all/rp_filter="+filter, "ipv4/conf/default/rp_filter="+filter, "ipv4/conf/eth0/rp_filter="+filter)
				callIptables(l.Host)
				for restore, rules := range map[string]string{
					"iptables-restore": stateful, "iptables-legacy-restore": stateful,
					"ip6tables-restore": stateful6, "ip6tables-legacy-restore": stateful6,
				} {
					if r := l.Host.RunInput(rules, restore); r.Code != 0 {
						t.Fatalf("%s: %s", restore, r.Stderr)
					}
				}
				if r := l.Host.RunInput(statefulInet, "nft", "-f", "-"); r.Code != 0 {
					t.Fatalf("nft: %s", r.Stderr)
				}
			})
			everyWay(t, l)
			for _, save := range []string{"iptables-save", "ip6tables-save"} {
				got := l.Host.Output(save, "-c")
				if strings.Contains(got, "[0:0] -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED") {
					t.Errorf("the host's conntrack was not in use:\n%s", got)
				}
				if !strings.Contains(got, "[0:0] -A FORWARD -j DROP") {
					t.Errorf("something was forwarded:\n%s", got)
				}
			}
			if got := l.Host.Output("nft", "list", "chain", "inet", "guard", "forward"); !strings.Contains(got, "counter packets 0 bytes 0 drop") {
				t.Errorf("something was forwarded:\n%s", got)
			}
		})
	}
}

// callIptables lets bridges hand frames to iptables, where the kernel can.
func callIptables(n *lab.Namespace) {
	if n.Run("test", "-e", "/proc/sys/net/bridge").Code == 0 {
		setSysctls(n, "bridge/bridge-nf-call-iptables=1", "bridge/bridge-nf-call-ip6tables=1", "bridge/bridge-nf-call-arptables=1")
	}
}

// foreign is somebody else's program, which counts packets and lets them go on.
type foreign struct {
	program *ebpf.Program
	counter *ebpf.Map
}

func newForeign(t testing.TB) *foreign {
	t.Helper()
	counter, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{
			asm.StoreImm(asm.RFP, -4, 0, asm.Word),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, counter.FD()),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "out"),
			asm.Mov.Imm(asm.R1, 1),
			asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, -1).WithSymbol("out"), // TCX_NEXT, TC_ACT_UNSPEC
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close(); counter.Close() })
	return &foreign{program, counter}
}

func (f *foreign) count(t testing.TB) (n uint64) {
	t.Helper()
	if err := f.counter.Lookup(uint32(0), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// attach attaches the program to a device of the host, where is relative to
// those that are there already.
func (f *foreign) attach(t testing.TB, l *lab.Lab, device string, at ebpf.AttachType, where link.Anchor) {
	t.Helper()
	l.Host.Must(func() error {
		found, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		attached, err := link.AttachTCX(link.TCXOptions{Interface: found.Index, Program: f.program, Attach: at, Anchor: where})
		if err != nil {
			return fmt.Errorf("attach to %s: %w", device, err)
		}
		t.Cleanup(func() { attached.Close() })
		return nil
	})
}

// filter makes the program a filter of the device's clsact qdisc, before ours.
func (f *foreign) filter(l *lab.Lab, device string, parents ...uint32) {
	l.Helper()
	l.Host.Must(func() error {
		found, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		index := found.Attrs().Index
		err = netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
		}})
		for _, parent := range parents {
			err = errors.Join(err, netlink.FilterAdd(&netlink.BpfFilter{
				FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: parent, Handle: 1, Priority: 7, Protocol: unix.ETH_P_ALL},
				Fd:          f.program.FD(), Name: "foreign", DirectAction: true,
			}))
		}
		return err
	})
}

// TestBesideForeignPrograms covers programs of others on the same hooks, before
// ours and behind them, by tcx and by filters of clsact: they see what they saw
// before, sluice works, and they stay when it goes.
func TestBesideForeignPrograms(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"tcx", "clsact"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			before, behind, filters := newForeign(t), newForeign(t), newForeign(t)
			l := everyWayLab(t, func(l *lab.Lab) {
				before.attach(t, l, "eth0", ebpf.AttachTCXIngress, link.Head())
				filters.filter(l, "eth0", netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS)
			}, "--attach="+mode)
			behind.attach(t, l, "eth0", ebpf.AttachTCXIngress, link.Tail())
			for device, at := range map[string]ebpf.AttachType{"sluice0": ebpf.AttachTCXEgress, vethOf(l, "m0"): ebpf.AttachTCXIngress} {
				before.attach(t, l, device, at, link.Head())
				behind.attach(t, l, device, at, link.Tail())
			}
			everyWay(t, l)
			l.Client.Background(selfPath, "tcp-echo", ":8")
			greeting(l.Host, lab.ClientAddr+":8")
			seen, passed, filtered := before.count(t), behind.count(t), filters.count(t)
			if seen == 0 || passed == 0 || filtered == 0 {
				t.Errorf("the program before ours saw %d packets, the one behind %d, the filters %d", seen, passed, filtered)
			}
			l.OK("system", "reset", "--force")
			l.WaitDaemon()
			greeting(l.Host, lab.ClientAddr+":8")
			if before.count(t) == seen || behind.count(t) == passed || filters.count(t) == filtered {
				t.Error("the reset took somebody else's program away")
			}
		})
	}
}
