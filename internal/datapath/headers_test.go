package datapath_test

import (
	"encoding/binary"

	"github.com/google/gopacket/layers"
)

// headers are where a frame has what, as far as its IP headers can be believed.
type headers struct {
	protocol  layers.IPProtocol
	transport int    // offset of the transport header
	end       int    // of the IP packet
	fragment  bool   // any
	pseudo    []byte // the addresses, for checksums
}

// readHeaders reads an IP frame, false when it is none.
func readHeaders(raw []byte) (headers, bool) {
	switch {
	case isIPv4(raw):
		return headers{
			protocol: layers.IPProtocol(raw[23]), transport: ethernet + int(raw[14]&0xf)*4,
			end:      ethernet + int(binary.BigEndian.Uint16(raw[16:])),
			fragment: binary.BigEndian.Uint16(raw[20:])&0x3fff != 0, pseudo: raw[26:34],
		}, true
	case isIPv6(raw):
		h := headers{
			protocol: layers.IPProtocol(raw[20]), transport: ethernet + ipv6Header,
			end:    ethernet + ipv6Header + int(binary.BigEndian.Uint16(raw[18:])),
			pseudo: raw[22:54],
		}
		h.walk(raw)
		return h, true
	}
	return headers{}, false
}

// walk goes over the extension headers up to a later fragment's end of them.
func (h *headers) walk(raw []byte) {
	for later := false; !later && h.transport+8 <= len(raw); {
		e, length := raw[h.transport:], 8
		switch h.protocol {
		case layers.IPProtocolIPv6HopByHop, layers.IPProtocolIPv6Destination, layers.IPProtocolIPv6Routing:
			length = int(e[1])*8 + 8
		case layers.IPProtocolIPv6Fragment:
			offset := binary.BigEndian.Uint16(e[2:])
			h.fragment, later = h.fragment || offset&^6 != 0, offset>>3 != 0
		default:
			return
		}
		h.protocol, h.transport = layers.IPProtocol(e[0]), h.transport+length
	}
}

func isIPv4(raw []byte) bool {
	return len(raw) >= 34 && raw[12] == 0x08 && raw[13] == 0 && raw[14]>>4 == 4 && raw[14]&0xf >= 5
}

func isIPv6(raw []byte) bool {
	return len(raw) >= 54 && raw[12] == 0x86 && raw[13] == 0xdd && raw[14]>>4 == 6
}

// transportAt is where the transport header of an IP frame begins.
func transportAt(raw []byte) int {
	h, _ := readHeaders(raw)
	return h.transport
}

// sourcePort reads a TCP or UDP frame's source port, or an echo's identifier.
func sourcePort(raw []byte) uint16 {
	h, ok := readHeaders(raw)
	if !ok || h.transport+8 > len(raw) {
		return 0
	}
	if h.protocol == layers.IPProtocolICMPv4 || h.protocol == layers.IPProtocolICMPv6 {
		h.transport += 4
	}
	return binary.BigEndian.Uint16(raw[h.transport:])
}
