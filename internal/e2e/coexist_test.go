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

// everyWay asserts that all that sluice does works: each way by TCP and UDP.
// The lab has been set up by everyWayLab.
func everyWay(t testing.TB, l *lab.Lab) {
	t.Helper()
	service := net.JoinHostPort(vip(l, "rr"), "80")
	greeting(l.Client, lab.HostAddr+":8080")
	datagram(l.Client, lab.HostAddr+":8080", "from outside")
	for _, addr := range []string{"127.0.0.1:8080", lab.HostAddr + ":8080", service, "172.20.0.2:80"} {
		greeting(l.Host, addr)
		datagram(l.Host, addr, "from the host")
	}
	persist(l.Host, "udp-ask-from", "127.0.0.1:0", "127.0.0.1:8080", "bound")
	for _, addr := range []string{lab.FarAddr + ":7", lab.HostAddr + ":8080", "172.20.0.3:80", service} {
		greetingInside(l, "m0", addr)
		persistInside(l, "m0", "udp-ask", addr, "from inside")
	}
	for _, addr := range []string{lab.FarAddr, "172.20.0.1", "172.20.0.3"} {
		if out := l.OK("exec", "m0", "busybox", "ping", "-c", "1", "-W", "5", addr); !strings.Contains(out, "1 packets received") {
			t.Errorf("ping %s: %s", addr, out)
		}
	}
}

// everyWayLab is a lab with two members of an alias, one of them published, and
// servers outside. prepare runs before the daemon.
func everyWayLab(t *testing.T, prepare func(l *lab.Lab), args ...string) *lab.Lab {
	t.Helper()
	l := lab.NewWithoutDaemon(t)
	prepare(l)
	l.StartDaemon(args...)
	l.Client.Background(selfPath, "tcp-echo", lab.FarAddr+":7")
	l.Client.Background(selfPath, "udp-echo", lab.FarAddr+":7")
	l.OK("network", "create", "--subnet=172.20.0.0/16", "custombridge")
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

// TestBesideFirewalls covers what of the host's stack must not be in the way:
// rp_filter, a FORWARD policy of DROP, conntrack and rules about its state,
// and bridges that call iptables.
func TestBesideFirewalls(t *testing.T) {
	t.Parallel()
	for _, filter := range []string{"1", "2"} {
		t.Run("rp_filter "+filter, func(t *testing.T) {
			t.Parallel()
			l := everyWayLab(t, func(l *lab.Lab) {
				setSysctls(l.Host, "ipv4/conf/all/rp_filter="+filter, "ipv4/conf/default/rp_filter="+filter, "ipv4/conf/eth0/rp_filter="+filter)
				callIptables(l.Host)
				for _, restore := range []string{"iptables-restore", "iptables-legacy-restore"} {
					if r := l.Host.RunInput(stateful, restore); r.Code != 0 {
						t.Fatalf("%s: %s", restore, r.Stderr)
					}
				}
			})
			everyWay(t, l)
			if got := l.Host.Output("iptables-save", "-c"); strings.Contains(got, "[0:0] -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED") {
				t.Errorf("the host's conntrack was not in use:\n%s", got)
			}
			if got := l.Host.Output("iptables-save", "-c"); !strings.Contains(got, "[0:0] -A FORWARD -j DROP") {
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
