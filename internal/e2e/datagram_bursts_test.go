package e2e

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
)

const mostBytes = 65507 // of a datagram

// What may be under way, with so much for each datagram, so that no buffer is
// ever full.
const (
	batchBytes    = 66 << 10
	perDatagram   = 1 << 10
	batchSegments = 40
)

// pour sends in batches, each when all of the one before has come.
func (p *datagramPeer) pour(seed uint64) error {
	random, sizes := randomBytes(seed), rand.New(rand.NewPCG(seed, 0))
	next := p.anyBurst(sizes)
	for p.end.Sent.Bytes < p.order.Bytes {
		var batch []burst
		for room := batchBytes; p.end.Sent.Bytes < p.order.Bytes && (batch == nil || next.cost() <= room); {
			if err := p.send(next, random); err != nil {
				return err
			}
			batch = append(batch, next)
			room -= next.cost()
			next = p.anyBurst(sizes)
		}
		for came := 0; came < p.end.Sent.Datagrams; {
			n, err := p.hear()
			if err != nil {
				return fmt.Errorf("%d of %d datagrams have come, the last of %v: %w", came, p.end.Sent.Datagrams, batch, err)
			}
			came = n
		}
	}
	return nil
}

// burst is what one call sends: datagrams of `segment` bytes, the last one of
// what is left.
type burst struct{ bytes, segment int }

func (b burst) cost() int { return b.bytes + perDatagram*((b.bytes+b.segment-1)/b.segment) }

// anyBurst is one datagram, or up to batchSegments of them when the kernel cuts.
func (p *datagramPeer) anyBurst(sizes *rand.Rand) burst {
	if p.order.Segment == 0 {
		n := anySize(sizes, mostBytes)
		return burst{n, n}
	}
	segment := 1 + sizes.IntN(p.order.Segment)
	return burst{1 + sizes.IntN(min(segment*batchSegments, mostBytes)), segment}
}

// anySize is at least 1 and at most n: small ones are as frequent as large ones.
func anySize(sizes *rand.Rand, n int) int {
	return min(int(math.Exp(sizes.Float64()*math.Log(float64(n+1)))), n)
}

// send sends a burst, or as much of it as was ordered.
func (p *datagramPeer) send(b burst, random io.Reader) error {
	buffer := make([]byte, min(b.bytes, p.order.Bytes-p.end.Sent.Bytes))
	if _, err := io.ReadFull(random, buffer); err != nil {
		return err
	}
	for part := range slices.Chunk(buffer, b.segment) {
		part[0] = isData
		p.end.Sent.add(part)
	}
	if p.order.Segment > 0 {
		return sendSegments(p.conn, p.to, buffer, b.segment)
	}
	_, err := p.conn.WriteToUDPAddrPort(buffer, p.to)
	return err
}
