package e2e

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/internal/netdev"
)

// tap sends and sees whole frames on a device: what no socket would send, and
// what no socket would be told of.
type tap struct {
	t   testing.TB
	fd  int
	mac net.HardwareAddr // the device's
}

// newTap opens a tap in the namespace that a thread is in while within runs.
func newTap(t testing.TB, within func(func() error) error, device string) *tap {
	t.Helper()
	p := &tap{t: t, fd: -1}
	err := within(func() error {
		link, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		p.mac = link.HardwareAddr
		all := int(htons(unix.ETH_P_ALL))
		if p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		if err = unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != nil {
			return err
		}
		return unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: link.Index})
	})
	if err != nil {
		t.Fatalf("tap %s: %v", device, err)
	}
	t.Cleanup(func() { unix.Close(p.fd) })
	return p
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// tapOn is newTap on a device of a lab's namespace.
func tapOn(n *lab.Namespace, t testing.TB, device string) *tap {
	t.Helper()
	return newTap(t, n.Do, device)
}

// tapIn is newTap on a container's eth0.
func tapIn(l *lab.Lab, name string) *tap {
	l.Helper()
	sandbox := sandboxOf(l, name)
	return newTap(l.T, func(fn func() error) error { return netdev.InNamespace(sandbox, fn) }, "eth0")
}

func (p *tap) send(frame []byte) {
	p.t.Helper()
	if _, err := unix.Write(p.fd, frame); err != nil {
		p.t.Fatalf("send a frame: %v", err)
	}
}

// receive returns the next frame that came in, nil when none came in time.
func (p *tap) receive(patience time.Duration) []byte {
	p.t.Helper()
	buffer := make([]byte, 64<<10)
	for deadline := time.Now().Add(patience); ; {
		left := max(time.Until(deadline), time.Millisecond)
		tv := unix.NsecToTimeval(left.Nanoseconds())
		if err := unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			p.t.Fatal(err)
		}
		n, from, err := unix.Recvfrom(p.fd, buffer, 0)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil
		case from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING:
			return buffer[:n]
		}
	}
}

// until collects the frames that come in until one holds the mark, which must
// come: what was sent before it has come by then, or never will.
func (p *tap) until(mark string) [][]byte {
	p.t.Helper()
	var seen [][]byte
	for {
		frame := p.receive(30 * time.Second)
		if frame == nil {
			p.t.Errorf("no frame with %q came", mark)
			return seen
		}
		if bytes.Contains(frame, []byte(mark)) {
			return seen
		}
		seen = append(seen, slices.Clone(frame))
	}
}

// macOf is the hardware address of a namespace's device.
func macOf(n *lab.Namespace, device string) (mac net.HardwareAddr) {
	n.Must(func() error {
		link, err := net.InterfaceByName(device)
		if err == nil {
			mac = link.HardwareAddr
		}
		return err
	})
	return mac
}

// mustMAC reads a hardware address that a test writes down.
func mustMAC(s string) net.HardwareAddr { return must(net.ParseMAC(s)) }

// queued returns how many IP packets from src to dst have come in and not been
// looked at yet.
func (p *tap) queued(src, dst string) (n int) {
	p.t.Helper()
	from := netip.MustParseAddr(src)
	want, at := slices.Concat(from.AsSlice(), netip.MustParseAddr(dst).AsSlice()), 26
	if from.Is6() {
		at = 22
	}
	for frame := p.receive(50 * time.Millisecond); frame != nil; frame = p.receive(50 * time.Millisecond) {
		if len(frame) >= at+len(want) && bytes.Equal(frame[at:at+len(want)], want) {
			n++
		}
	}
	return n
}
