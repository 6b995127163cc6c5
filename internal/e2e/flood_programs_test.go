package e2e

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"
)

// floodOrder is packets that begin flows, no two alike but by chance.
type floodOrder struct {
	SYN                   bool // of TCP, else of UDP
	Count                 int
	Device                string
	MAC                   string // of the next hop
	Sources, Destinations netip.Prefix
	Port                  uint16 // of the destination
	Seed                  uint64
}

// floodResult is what `flood` prints.
type floodResult struct {
	Sent    int
	Seconds float64
}

// flood sends what the floodOrder ORDER says.
func flood(args []string) error {
	var order floodOrder
	if err := json.Unmarshal([]byte(args[0]), &order); err != nil {
		return err
	}
	device, err := net.InterfaceByName(order.Device)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // receives nothing
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Ifindex: device.Index, Protocol: htons(unix.ETH_P_IP)}
	if order.Sources.Addr().Is6() {
		to.Protocol = htons(unix.ETH_P_IPV6)
	}
	f := newFlooder(order, device.HardwareAddr, mustMAC(order.MAC))
	var r floodResult
	begin := time.Now()
	for ; r.Sent < order.Count; r.Sent++ {
		frame := f.next()
		for err = unix.Sendto(fd, frame, 0, to); errors.Is(err, unix.ENOBUFS); err = unix.Sendto(fd, frame, 0, to) {
			time.Sleep(time.Millisecond)
		}
		if err != nil {
			return fmt.Errorf("packet %d: %w", r.Sent, err)
		}
	}
	r.Seconds = time.Since(begin).Seconds()
	return json.NewEncoder(os.Stdout).Encode(r)
}

// flooder writes one frame over the other.
type flooder struct {
	order  floodOrder
	random *rand.Rand
	frame  []byte

	src, dst, transport []byte // parts of frame
	checksum            []byte // of TCP or UDP
	header              []byte // of IPv4, whose checksum changes too
	protocol            byte
}

func newFlooder(order floodOrder, from, to net.HardwareAddr) *flooder {
	f := &flooder{order: order, random: rand.New(rand.NewPCG(order.Seed, 0))}
	src, dst := netip.AddrPortFrom(order.Sources.Addr(), 1), netip.AddrPortFrom(order.Destinations.Addr(), order.Port)
	k := packet{srcMAC: from, dstMAC: to, src: src.String(), dst: dst.String()}
	f.protocol = unix.IPPROTO_UDP
	at := 6
	if order.SYN {
		k.tcp = &layers.TCP{SYN: true, Window: 65535, Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 0xb4}}}}
		f.protocol, at = unix.IPPROTO_TCP, 16
	} else {
		k.payload = "flood..."
	}
	f.frame = k.bytes()
	if src.Addr().Is4() {
		length := binary.BigEndian.Uint16(f.frame[14+2:]) // what follows fills the least frame of Ethernet
		f.header, f.transport = f.frame[14:34], f.frame[34:14+length]
		f.src, f.dst = f.header[12:16], f.header[16:20]
	} else {
		f.transport = f.frame[54:]
		f.src, f.dst = f.frame[22:38], f.frame[38:54]
	}
	f.checksum = f.transport[at : at+2]
	return f
}

// next is the next frame, valid until the one after.
func (f *flooder) next() []byte {
	f.draw(f.src, f.order.Sources)
	f.draw(f.dst, f.order.Destinations)
	binary.BigEndian.PutUint16(f.transport, uint16(1024+f.random.IntN(64<<10-1024)))
	if f.order.SYN {
		binary.BigEndian.PutUint32(f.transport[4:], f.random.Uint32())
	}
	clear(f.checksum)
	sum := sumWords(f.src) + sumWords(f.dst) + uint32(f.protocol) + uint32(len(f.transport)) + sumWords(f.transport)
	binary.BigEndian.PutUint16(f.checksum, complement(sum))
	if f.header != nil {
		clear(f.header[10:12])
		binary.BigEndian.PutUint16(f.header[10:], complement(sumWords(f.header)))
	}
	return f.frame
}

// draw writes an address of a prefix.
func (f *flooder) draw(addr []byte, of netip.Prefix) {
	for i, left := len(addr)-1, len(addr)*8-of.Bits(); left > 0; i, left = i-1, left-8 {
		mask := byte(0xff)
		if left < 8 {
			mask = 1<<left - 1
		}
		addr[i] = addr[i]&^mask | byte(f.random.Uint32())&mask
	}
}

// sumWords adds 16-bit words, of an even number of bytes, for a checksum (RFC 1071).
func sumWords(b []byte) (sum uint32) {
	for ; len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	return sum
}

func complement(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	if sum == 0xffff { // zero says that there is no checksum
		return 0xffff
	}
	return ^uint16(sum)
}
