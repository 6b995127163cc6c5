package datapath_test

import (
	"bytes"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// A device without a link layer gives the uplink program packets that begin with
// the IP header. TEST_RUN takes every packet for an Ethernet frame: it reads the
// protocol where such a frame has it, which is in the middle of an IP packet's
// source address. So these sources read as what they are.
var tunnelClients = map[*cast]netip.Addr{ipv4: addr("8.0.0.9"), ipv6: addr("2001:db8:86dd::9")}

// tunnel runs the program for devices without a link layer.
type tunnel struct {
	*fixture
	client  station
	program *ebpf.Program
}

// tunnel is the fixture's program behind one that says for whom the packet is:
// TEST_RUN looks for the device's address in its first bytes.
func (f *fixture) tunnel() *tunnel {
	const packetHost = 0
	behind, err := f.loader.UplinkProgram(1) // lo has no link layer either
	must(f.t, err)
	calls, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	must(f.t, err)
	f.t.Cleanup(func() { calls.Close() })
	must(f.t, calls.Put(uint32(0), behind))
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.Mov.Imm(asm.R2, packetHost),
			asm.FnSkbChangeType.Call(),
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.LoadMapPtr(asm.R2, calls.FD()),
			asm.Mov.Imm(asm.R3, 0),
			asm.FnTailCall.Call(),
			asm.Mov.Imm(asm.R0, shot),
			asm.Return(),
		},
	})
	must(f.t, err)
	f.t.Cleanup(func() { program.Close() })
	return &tunnel{f, f.client.by(tunnelClients[f.cast]), program}
}

// bare is a frame without its Ethernet header, whose addresses mean nothing.
func (f frame) bare() []byte { return f.bytes()[ethernet:] }

// receive is what becomes of a packet that comes in.
func (u *tunnel) receive(raw []byte) (uint32, []byte) {
	u.t.Helper()
	before, drops := u.packets(), u.drops()
	options := &ebpf.RunOptions{Data: raw, DataOut: make([]byte, len(raw)+64), Context: skb{Mark: 0xbeef, Ifindex: 1}}
	verdict, err := u.program.Run(options)
	must(u.t, err)
	counted := verdictOf(verdict)
	before[count{datapath.HookUplink, counted}]++
	expectEqual(u.t, "packet counters", u.packets(), before)
	if counted != datapath.VerdictDrop {
		expectEqual(u.t, "drops", u.drops(), drops)
	}
	return verdict, options.DataOut
}

// expectBare asserts that a packet is left as it came.
func (u *tunnel) expectBare(what string, raw []byte, want uint32) {
	u.t.Helper()
	if verdict, out := u.receive(raw); verdict != want || !bytes.Equal(out, raw) {
		u.t.Errorf("%s: verdict %d, want %d\ngot  %x\nwant %x", what, int32(verdict), int32(want), out, raw)
	}
}

// TestTunnelDelivers covers what comes by a device without a link layer for a
// container, which gets it with an Ethernet header.
func TestTunnelDelivers(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		u := f.tunnel()
		for name, sent := range map[string]frame{
			"tcp":     u.client.tcp(40000, at(f.host, published), syn),
			"udp":     u.client.udp(40000, at(f.host, published)),
			"headers": withMoreHeaders(u.client.udp(40001, at(f.host, published))),
		} {
			want := sent.hop().to(f.a.at(target)).delivered(f.a)
			for range 2 {
				verdict, out := u.receive(sent.bare())
				f.expect("published, "+name, verdict, out, redirect, want)
			}
		}
		for name, sent := range map[string]frame{
			"tcp":  f.b.tcp(40000, at(u.client.addr, 443), syn),
			"udp":  f.b.udp(40000, at(u.client.addr, 53)),
			"echo": f.b.echo(40000, u.client.addr),
		} {
			_, out := f.fromContainer(f.b, sent)
			left := sent.hop().masqueraded(f.host, sourcePort(out))
			answer := left.answer(u.client, syn|ack)
			verdict, out := u.receive(answer.bare())
			f.expect("masqueraded, "+name, verdict, out, redirect, sent.answer(u.client, syn|ack).hop().delivered(f.b))

			e := u.client.errorAbout(left)
			e.kind, e.code, e.mtu = f.icmp.tooBig, f.icmp.tooBigCode, 1300
			verdict, out = u.receive(e.bytes()[ethernet:])
			want := e.translated(u.client.addr, f.b.addr, sent.hop(), 1)
			want.mac, want.hop = gatewayMAC, f.b.mac
			f.expectError("too big, "+name, verdict, out, redirect, want)
		}
	})
}

// TestTunnelLeaves covers what comes that way and is none of ours, or nobody's.
func TestTunnelLeaves(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		u := f.tunnel()
		for name, sent := range map[string]frame{
			"unpublished": u.client.tcp(1, at(f.host, 22), syn), "no SYN": u.client.tcp(1, at(f.host, published), ack),
			"echo": u.client.echo(1, f.host), "elsewhere": u.client.udp(1, f.remote.at(published)),
			"later fragment": laterFragment(u.client.udp(1, at(f.host, published))),
		} {
			u.expectBare(name, sent.bare(), next)
		}
		short := u.client.tcp(1, at(f.host, published), syn).bare()
		u.expectBare("cut off", short[:len(short)-1], next)
		for name, sent := range map[string]frame{
			"a container": u.client.tcp(1, f.a.at(target), syn), "a gateway": u.client.udp(1, at(f.gatewayOne, published)),
			"a VIP": u.client.udp(1, at(f.vip, 53)), "nobody": u.client.udp(1, at(f.nobody, 53)),
		} {
			before := f.drops()
			u.expectBare(name, sent.bare(), shot)
			before[reasons.Unpublished]++
			expectEqual(t, name+": drops", f.drops(), before)
		}
		f.expectNoFlows()
	})
}

// TestTunnelAnswers covers a packet whose TTL ends at the host: who has sent it
// through the tunnel is told by the same way, without a link layer. TEST_RUN knows
// no such packet well enough to grow it, so this one comes by a real device.
func TestTunnelAnswers(t *testing.T) {
	withFixtures(t, loader.Config{}, func(t *testing.T, f *fixture) {
		device := openTunnel(t)
		attachFilter(t, f.loader, "tun0")
		who := f.client.by(tunnelClients[f.cast])
		sent := withTTL(who.udp(40000, at(f.host, published)), 1)
		if _, err := device.Write(sent.bare()); err != nil {
			t.Fatal(err)
		}
		want := told(sent, f.host, 0)[ethernet:]
		if got := readPacket(t, device, len(want)); !slices.Equal(got, want) {
			t.Errorf("got  %x\nwant %x", got, want)
		}
		if got := f.drops()[reasons.TtlExceeded]; got != 1 {
			t.Errorf("%d packets were dropped for it", got)
		}
	})
}

// openTunnel makes the device tun0, which goes with the file. What is written to
// the file comes in by the device.
func openTunnel(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	must(t, err)
	request, err := unix.NewIfreq("tun0")
	must(t, err)
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	must(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
	file := os.NewFile(uintptr(fd), "tun0")
	t.Cleanup(func() { file.Close() })
	found, err := netlink.LinkByName("tun0")
	must(t, err)
	must(t, netlink.LinkSetUp(found))
	return file
}

// attachFilter lets the uplink program see what comes in by a device.
func attachFilter(t *testing.T, l *loader.Loader, device string) {
	t.Helper()
	found, err := netlink.LinkByName(device)
	must(t, err)
	index := found.Attrs().Index
	program, err := l.UplinkProgram(index)
	must(t, err)
	must(t, netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}))
	must(t, netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL,
		},
		Fd: program.FD(), Name: device, DirectAction: true,
	}))
}

// readPacket returns the first packet of a size that the device sends.
func readPacket(t *testing.T, device *os.File, size int) []byte {
	t.Helper()
	must(t, device.SetReadDeadline(time.Now().Add(10*time.Second)))
	for raw := make([]byte, 2048); ; {
		n, err := device.Read(raw)
		must(t, err)
		if n == size { // the kernel's own solicitations come by as well
			return raw[:n]
		}
	}
}
