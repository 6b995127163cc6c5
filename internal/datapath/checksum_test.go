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

// verifyChecksums computes the checksums of a whole IPv4 frame from scratch.
// A UDP checksum of zero says that there is none.
func verifyChecksums(raw []byte) error {
	at := transportAt(raw)
	if len(raw) < at {
		return errors.New("no room for an IPv4 header")
	}
	if sum16(raw[14:at]) != 0xffff {
		return errors.New("the IPv4 header's checksum is wrong")
	}
	end := 14 + int(binary.BigEndian.Uint16(raw[16:]))
	if end < at || end > len(raw) {
		return fmt.Errorf("the IPv4 length ends at byte %d of %d", end, len(raw))
	}
	if binary.BigEndian.Uint16(raw[20:])&0x3fff != 0 {
		return nil // a fragment: its transport checksum covers what is elsewhere
	}
	segment := raw[at:end]
	pseudo := slices.Concat(raw[26:34], []byte{0, raw[23]}, binary.BigEndian.AppendUint16(nil, uint16(len(segment))))
	switch layers.IPProtocol(raw[23]) {
	case layers.IPProtocolTCP:
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

// TestVerifierSeesEveryBit flips each covered bit of good frames.
func TestVerifierSeesEveryBit(t *testing.T) {
	t.Parallel()
	to := clientAddrPort(443)
	for _, f := range []frame{remote.tcp(1, to, syn), remote.udp(1, to), remote.echo(1, to.Addr())} {
		good := f.bytes()
		for bit := 18 * 8; bit < len(good)*8; bit++ {
			bad := slices.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			if verifyChecksums(bad) == nil {
				t.Errorf("%s: bit %d of byte %d is not covered", f.protocol, bit%8, bit/8)
			}
		}
	}
}
