package e2e

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

// TestChecksumsOnTheWay follows connections of ordinary sockets, segmentation
// offload included, whose checksums the kernel has computed or left for later
// as the devices allow. A socket would not notice: it believes the kernel.
func TestChecksumsOnTheWay(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		for name, test := range map[string]struct {
			set func(l *lab.Lab)
			// whether what comes into the container, and to the client, is left for later
			in, out bool
		}{
			"left for later": {func(*lab.Lab) {}, true, true},
			"computed by the client": {func(l *lab.Lab) {
				setOffload(l.Client, "eth0", unix.ETHTOOL_STXCSUM, false)
			}, false, true},
			"computed by the client, not trusted": {func(l *lab.Lab) {
				setOffload(l.Client, "eth0", unix.ETHTOOL_STXCSUM, false)
				setOffload(l.Host, "eth0", unix.ETHTOOL_SRXCSUM, false)
			}, false, true},
			"computed by the host's device": {func(l *lab.Lab) {
				setOffload(l.Host, "eth0", unix.ETHTOOL_STXCSUM, false)
			}, true, false},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				l := f.lab(t)
				test.set(l)
				runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
				runServer(l, "net01", "udp-echo", ":53", "-p", "5353:53/udp")
				greeting(l.Client, port(f.host, "8080"))
				datagram(l.Client, port(f.host, "5353"), "up?")

				tcp, udp, outside := tapIn(l, "net00"), tapIn(l, "net01"), tapOn(l.Client, t, "eth0")
				newTalk(t, l.Client, port(f.host, "8080")).say(strings.Repeat("0123456789", 10_000))
				datagram(l.Client, port(f.host, "5353"), "hello")
				tcp.expectChecksums("TCP, to the container", unix.IPPROTO_TCP, test.in)
				udp.expectChecksums("UDP, to the container", unix.IPPROTO_UDP, test.in)
				outside.expectChecksums("to the client", 0, test.out)
			})
		}
	})
}

// setOffload switches one of the devices' features by its ethtool command.
func setOffload(n *lab.Namespace, device string, command uint32, on bool) {
	n.Must(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		value := struct{ command, data uint32 }{command: command}
		if on {
			value.data = 1
		}
		request := struct {
			name  [unix.IFNAMSIZ]byte
			value unsafe.Pointer
			_     [16]byte
		}{value: unsafe.Pointer(&value)}
		copy(request.name[:], device)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
			return fmt.Errorf("offload of %s: %w", device, errno)
		}
		return nil
	})
}

// expectChecksums computes the checksum of every IP frame of a protocol, 0 for
// TCP and UDP, that has come in. Those that are left for later hold the sum of
// the pseudo header; whether that must be so, or must not, is `later`.
func (p *tap) expectChecksums(what string, protocol byte, later bool) {
	p.t.Helper()
	seen := 0
	for _, raw := range p.untilQuiet() {
		segment, pseudo, field, ok := transportOf(raw.frame, protocol)
		if !ok {
			continue
		}
		seen++
		if raw.later != later {
			p.t.Errorf("%s: the checksum of %d bytes is left for later: %v", what, len(segment), raw.later)
		}
		want := sum16(pseudo, segment)
		if raw.later {
			want = 0xffff - binary.BigEndian.Uint16(field) + sum16(pseudo)
		}
		if want != 0xffff {
			p.t.Errorf("%s: a wrong checksum: %x", what, raw.frame[:min(len(raw.frame), 60)])
		}
	}
	if seen == 0 {
		p.t.Errorf("%s: nothing came", what)
	}
}

// tapped is a frame that came in, and whether its checksum is left for later.
type tapped struct {
	frame []byte
	later bool
}

// untilQuiet returns the frames that have come in.
func (p *tap) untilQuiet() (all []tapped) {
	p.t.Helper()
	patience := unix.NsecToTimeval((200 * time.Millisecond).Nanoseconds())
	for _, err := range []error{
		unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
		unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience),
	} {
		if err != nil {
			p.t.Fatal(err)
		}
	}
	buffer, control := make([]byte, 128<<10), make([]byte, 256)
	for {
		n, length, _, from, err := unix.Recvmsg(p.fd, buffer, control, 0)
		if err != nil {
			return all
		}
		messages, err := unix.ParseSocketControlMessage(control[:length])
		if err != nil || len(messages) == 0 {
			p.t.Fatalf("a frame without its status: %v", err)
		}
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		status := binary.NativeEndian.Uint32(messages[0].Data) // struct tpacket_auxdata
		all = append(all, tapped{slices.Clone(buffer[:n]), status&unix.TP_STATUS_CSUMNOTREADY != 0})
	}
}

// transportOf cuts an IP frame into what a transport checksum is about.
func transportOf(raw []byte, protocol byte) (segment, pseudo, field []byte, ok bool) {
	const ip = 14
	var has byte
	switch {
	case len(raw) >= ip+20 && binary.BigEndian.Uint16(raw[12:]) == unix.ETH_P_IP:
		segment, pseudo, has = raw[ip+raw[ip]&0xf*4:ip+int(binary.BigEndian.Uint16(raw[ip+2:]))], raw[ip+12:ip+20], raw[ip+9]
	case len(raw) >= ip+40 && binary.BigEndian.Uint16(raw[12:]) == unix.ETH_P_IPV6:
		segment, pseudo, has = raw[ip+40:ip+40+int(binary.BigEndian.Uint16(raw[ip+4:]))], raw[ip+8:ip+40], raw[ip+6]
	}
	if protocol != 0 && has != protocol {
		return nil, nil, nil, false
	}
	pseudo = slices.Concat(pseudo, []byte{0, has}, binary.BigEndian.AppendUint16(nil, uint16(len(segment))))
	switch has {
	case unix.IPPROTO_TCP:
		return segment, pseudo, segment[16:18], true
	case unix.IPPROTO_UDP:
		return segment, pseudo, segment[6:8], true
	}
	return nil, nil, nil, false
}

// sum16 is the one's complement sum of RFC 1071 over big-endian words.
func sum16(parts ...[]byte) uint16 {
	var sum uint32
	for _, part := range parts {
		for i, b := range part {
			sum += uint32(b) << (8 * (1 - i%2))
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
