package bench

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"
	"unsafe"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/traffic"
)

// payload is what frames carry: it makes those of IPv4 as small as Ethernet has
// them.
const payload = 18

// batch is how many frames one system call sends.
const batch = 256

// frameSize is without the frame check sequence.
func (f *family) frameSize() int {
	if f == &ipv4 {
		return 14 + 20 + 8 + payload
	}
	return 14 + 40 + 8 + payload
}

// frames are one of each of the first flows of a lane.
func (l *lane) frames(flows int) ([][]byte, error) {
	_, first := l.flow(0)
	src, dst, err := macs(l.from, first.Addr())
	if err != nil {
		return nil, err
	}
	frames := make([][]byte, flows)
	for i := range frames {
		if frames[i], err = l.frame(i, src, dst); err != nil {
			return nil, err
		}
	}
	return frames, nil
}

// frame is the i-th flow's.
func (l *lane) frame(i int, srcMAC, dstMAC net.HardwareAddr) ([]byte, error) {
	src, dst := l.flow(i)
	udp := &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}
	ethernet := &layers.Ethernet{SrcMAC: srcMAC, DstMAC: dstMAC}
	var ip interface {
		gopacket.NetworkLayer
		gopacket.SerializableLayer
	}
	if l.family == &ipv4 {
		ethernet.EthernetType = layers.EthernetTypeIPv4
		ip = &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
	} else {
		ethernet.EthernetType = layers.EthernetTypeIPv6
		ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
	}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, err
	}
	buffer := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		ethernet, ip, udp, gopacket.Payload(make([]byte, payload)))
	return buffer.Bytes(), err
}

// sender sends frames over and over from a device. It bypasses the queueing
// discipline; the other end of a veth receives on the sender's CPU before the
// next frame is sent.
type sender struct {
	namespace string
	fd        int
	messages  []message
	next      int // of messages
}

// message is the kernel's struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
}

func newSender(e *Env, from nic, frames [][]byte) (*sender, error) {
	s := &sender{namespace: from.namespace, fd: -1}
	err := netdev.InNamespace(from.namespace, func() error {
		link, err := netlink.LinkByName(from.device)
		if err != nil {
			return err
		}
		// Protocol 0: it receives nothing.
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		e.cleanup(func() error { return unix.Close(s.fd) })
		return errors.Join(
			unix.Bind(s.fd, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index}),
			unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1))
	})
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	s.messages = messagesOf(frames)
	return s, nil
}

// messagesOf are at least a batch, and each of the frames as often as the
// others.
func messagesOf(frames [][]byte) []message {
	vectors := make([]unix.Iovec, len(frames))
	for i, frame := range frames {
		vectors[i].Base = &frame[0]
		vectors[i].SetLen(len(frame))
	}
	messages := make([]message, len(frames)*((batch+len(frames)-1)/len(frames)))
	for i := range messages {
		messages[i].header = unix.Msghdr{Iov: &vectors[i%len(vectors)], Iovlen: 1}
	}
	return messages
}

// send sends the next count frames from one CPU and returns how long that took,
// receiving included.
func (s *sender) send(count, cpu int) (elapsed time.Duration, err error) {
	err = netdev.InNamespace(s.namespace, func() (err error) {
		undo, err := traffic.Pin(cpu)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, undo()) }()
		begin := time.Now()
		for sent := 0; sent < count; {
			n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd),
				uintptr(unsafe.Pointer(&s.messages[s.next])), uintptr(min(batch, count-sent, len(s.messages)-s.next)), 0, 0, 0)
			if errno != 0 && errno != unix.EINTR && errno != unix.EAGAIN {
				return fmt.Errorf("send frames: %w", errno)
			}
			if errno == 0 {
				sent += int(n)
				s.next = (s.next + int(n)) % len(s.messages)
			}
		}
		elapsed = time.Since(begin)
		return nil
	})
	runtime.KeepAlive(s)
	return elapsed, err
}
