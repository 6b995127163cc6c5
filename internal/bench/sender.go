package bench

import (
	"errors"
	"fmt"
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

// frameSize is what the sender sends, without the frame check sequence: the
// least that Ethernet carries.
const frameSize = 60

// batch is how many frames one system call sends.
const batch = 256

// requestFrame is a UDP datagram of the client to the published port.
func (w *world) requestFrame() ([]byte, error) {
	ip := &layers.IPv4{
		Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: ipv4.client.Addr().AsSlice(), DstIP: ipv4.host.Addr().AsSlice(),
	}
	udp := &layers.UDP{SrcPort: clientPort, DstPort: layers.UDPPort(forwardedPort.host)}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, err
	}
	const headers = 14 + 20 + 8
	buffer := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: w.clientMAC, DstMAC: w.hostMAC, EthernetType: layers.EthernetTypeIPv4},
		ip, udp, gopacket.Payload(make([]byte, frameSize-headers)))
	return buffer.Bytes(), err
}

// sender sends one frame over and over from the client's end of the wire. It
// bypasses the queueing discipline; the other end of a veth receives on the
// sender's CPU before the next frame is sent.
type sender struct {
	client   string
	fd       int
	messages []message
}

// message is the kernel's struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
}

func newSender(e *Env, w *world) (*sender, error) {
	frame, err := w.requestFrame()
	if err != nil {
		return nil, err
	}
	s := &sender{client: w.client, fd: -1}
	err = netdev.InNamespace(w.client, func() error {
		link, err := netlink.LinkByName(device)
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
	vector := &unix.Iovec{Base: &frame[0]}
	vector.SetLen(len(frame))
	s.messages = make([]message, batch)
	for i := range s.messages {
		s.messages[i].header = unix.Msghdr{Iov: vector, Iovlen: 1}
	}
	return s, nil
}

// send sends count frames from one CPU and returns how long that took,
// receiving included.
func (s *sender) send(count, cpu int) (elapsed time.Duration, err error) {
	err = netdev.InNamespace(s.client, func() (err error) {
		undo, err := traffic.Pin(cpu)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, undo()) }()
		begin := time.Now()
		for sent := 0; sent < count; {
			n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd),
				uintptr(unsafe.Pointer(&s.messages[0])), uintptr(min(batch, count-sent)), 0, 0, 0)
			if errno != 0 && errno != unix.EINTR && errno != unix.EAGAIN {
				return fmt.Errorf("send frames: %w", errno)
			}
			if errno == 0 {
				sent += int(n)
			}
		}
		elapsed = time.Since(begin)
		return nil
	})
	runtime.KeepAlive(s)
	return elapsed, err
}
