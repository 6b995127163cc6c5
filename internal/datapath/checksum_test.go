package datapath_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"
)

// sum16 is the one's complement sum of RFC 1071 over big-endian words.
func sum16(parts ...[]byte) uint16 {
	var sum uint32
	for _, part := range parts {
		for i := 0; i < len(part); i += 2 {
			word := uint32(part[i]) << 8
			if i+1 < len(part) {
				word |= uint32(part[i+1])
			}
			sum += word
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// pseudoHeader is what the checksum of a segment covers beside it (RFC 9293 3.1,
// RFC 8200 8.1); addresses are those of the IP header.
func pseudoHeader(addresses []byte, protocol layers.IPProtocol, length int) []byte {
	return binary.BigEndian.AppendUint32(slices.Concat(addresses, []byte{0, 0, 0, byte(protocol)}), uint32(length))
}

// verifyChecksums computes the checksums of a whole IP frame from scratch. A
// UDP checksum of zero says that there is none.
func verifyChecksums(raw []byte) error {
	h, ok := readHeaders(raw)
	if !ok {
		return errors.New("not an IP packet")
	}
	if isIPv4(raw) && (len(raw) < h.transport || sum16(raw[ethernet:h.transport]) != 0xffff) {
		return errors.New("the IPv4 header's checksum is wrong")
	}
	if h.end < h.transport || h.end > len(raw) {
		return fmt.Errorf("the IP packet ends at byte %d of %d", h.end, len(raw))
	}
	if h.fragment {
		return nil // its transport checksum covers what is elsewhere
	}
	segment := raw[h.transport:h.end]
	pseudo := pseudoHeader(h.pseudo, h.protocol, len(segment))
	switch h.protocol {
	case layers.IPProtocolTCP, layers.IPProtocolICMPv6:
	case layers.IPProtocolUDP:
		if len(segment) >= 8 && binary.BigEndian.Uint16(segment[6:]) == 0 {
			return nil
		}
	case layers.IPProtocolICMPv4:
		pseudo = nil
	default:
		return nil
	}
	if sum16(pseudo, segment) != 0xffff {
		return errors.New("the transport checksum is wrong")
	}
	return nil
}

// TestVerifierSeesEveryBit flips each covered bit of good frames: of IPv6's own
// header that is the length and the addresses.
func TestVerifierSeesEveryBit(t *testing.T) {
	bothFamilies(t, func(t *testing.T, c *cast) {
		to := c.client.at(443)
		for _, f := range []frame{c.remote.tcp(1, to, syn), c.remote.udp(1, to), c.remote.echo(1, to.Addr())} {
			good := f.bytes()
			for bit := 18 * 8; bit < len(good)*8; bit++ {
				if c == ipv6 && (bit/8 == 20 || bit/8 == 21) {
					continue
				}
				bad := slices.Clone(good)
				bad[bit/8] ^= 1 << (bit % 8)
				if verifyChecksums(bad) == nil {
					t.Errorf("%s: bit %d of byte %d is not covered", f.protocol, bit%8, bit/8)
				}
			}
		}
	})
}
