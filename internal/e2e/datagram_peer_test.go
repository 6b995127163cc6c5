package e2e

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// datagramOrder is what both ends of an exchange of datagrams do at once.
type datagramOrder struct {
	Bytes   int    // each way
	Seed    uint64 // of what is sent, and in which sizes
	Segment int    // the longest datagram that the kernel is to cut (UDP_SEGMENT); 0: it cuts none
	GRO     bool   // take together what comes together (UDP_GRO)
}

// datagramEnd is what one end says of an exchange.
type datagramEnd struct {
	Sent, Received datagramTally
	User, System   float64 // CPU seconds
}

// datagramTally tells which datagrams there were, in whichever order.
type datagramTally struct {
	Datagrams, Bytes int
	Hashes           [4]uint64 // the sums of their SHA-256's words
}

func (t *datagramTally) add(datagram []byte) {
	t.Datagrams++
	t.Bytes += len(datagram)
	hash := sha256.Sum256(datagram)
	for i := range t.Hashes {
		t.Hashes[i] += binary.BigEndian.Uint64(hash[8*i:])
	}
}

// The first byte of a datagram tells data from greetings, which are as long as
// Ethernet allows: once one has been answered, both ways know their MTU.
const (
	isGreeting = iota
	isData

	greetingBytes = 1472
)

// datagramPatience is how long an end waits for what does not get lost.
const datagramPatience = 20 * time.Second

// datagramPeer is one end of an exchange. By its connection, each end tells the
// other how many datagrams have come.
type datagramPeer struct {
	control net.Conn
	conn    *net.UDPConn
	to      netip.AddrPort
	order   datagramOrder
	end     datagramEnd
	greeted chan struct{} // a greeting has come, or the answer to one
}

// say tells the other end a number; hear waits for one.
func (p *datagramPeer) say(n int) error { return binary.Write(p.control, binary.BigEndian, int64(n)) }

func (p *datagramPeer) hear() (int, error) {
	var n int64
	_ = p.control.SetReadDeadline(time.Now().Add(datagramPatience))
	err := binary.Read(p.control, binary.BigEndian, &n)
	return int(n), err
}

// giveOrder returns when the other end has made itself ready.
func (p *datagramPeer) giveOrder() error {
	order, err := json.Marshal(p.order)
	if err != nil {
		return err
	}
	if err := p.say(len(order)); err != nil {
		return err
	}
	if _, err := p.control.Write(order); err != nil {
		return err
	}
	if _, err := p.hear(); err != nil {
		return fmt.Errorf("the other end: %w", err)
	}
	return p.prepare()
}

func (p *datagramPeer) receiveOrder() error {
	n, err := p.hear()
	if err != nil {
		return err
	}
	order := make([]byte, n)
	if _, err := io.ReadFull(p.control, order); err != nil {
		return err
	}
	if err := json.Unmarshal(order, &p.order); err != nil {
		return err
	}
	return p.prepare()
}

func (p *datagramPeer) prepare() error {
	p.greeted = make(chan struct{})
	return setUDPOption(p.conn, unix.UDP_GRO, p.order.GRO)
}

// exchange sends and takes datagrams at once, after begin has succeeded.
func (p *datagramPeer) exchange(seed uint64, begin func() error) error {
	used := cpuUsed()
	poured := make(chan error, 1)
	go func() {
		err := begin()
		if err == nil {
			err = p.pour(seed)
		}
		poured <- err
	}()
	if err := errors.Join(p.drain(), <-poured); err != nil {
		return err
	}
	p.end.User, p.end.System = used.since()
	return nil
}

// greet greets until there is an answer; then the other end may begin.
func (p *datagramPeer) greet() error {
	for range datagramPatience / (100 * time.Millisecond) {
		if err := p.sendGreeting(); err != nil {
			return err
		}
		select {
		case <-p.greeted:
			return p.say(0)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return errors.New("no greeting was answered")
}

func (p *datagramPeer) sendGreeting() error {
	greeting := make([]byte, greetingBytes)
	greeting[0] = isGreeting
	_, err := p.conn.WriteToUDPAddrPort(greeting, p.to)
	return err
}

// awaitStart waits until the client has seen its greeting answered.
func (p *datagramPeer) awaitStart() error {
	_, err := p.hear()
	if err == nil {
		<-p.greeted
	}
	return err
}

// drain takes datagrams until all have come. The server answers greetings.
func (p *datagramPeer) drain() error {
	buffer := make([]byte, 64<<10)
	isServer := !p.to.IsValid()
	for p.end.Received.Bytes < p.order.Bytes {
		_ = p.conn.SetReadDeadline(time.Now().Add(datagramPatience))
		parts, from, err := readSegments(p.conn, buffer)
		if err != nil {
			return fmt.Errorf("%d of %d bytes came in %d datagrams: %w", p.end.Received.Bytes, p.order.Bytes, p.end.Received.Datagrams, err)
		}
		switch {
		case parts[0][0] == isGreeting:
			err = p.takeGreeting(from, isServer)
		case from != p.to:
			err = fmt.Errorf("a datagram from %s: the other end is %s", from, p.to)
		default:
			for _, part := range parts {
				p.end.Received.add(part)
			}
			err = p.say(p.end.Received.Datagrams)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *datagramPeer) takeGreeting(from netip.AddrPort, isServer bool) error {
	if isServer && !p.to.IsValid() {
		p.to = from
	}
	if from != p.to {
		return fmt.Errorf("a greeting from %s: the other end is %s", from, p.to)
	}
	select {
	case <-p.greeted:
	default:
		close(p.greeted)
	}
	if isServer {
		return p.sendGreeting()
	}
	return nil
}
