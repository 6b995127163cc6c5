// Package portreserve keeps ports of the host from being given to sockets that
// did not ask for one, by net.ipv4.ip_local_reserved_ports. It remembers which
// of them it added, and takes those away again, and no others.
package portreserve

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Ports is a set of ports.
type Ports [1 << 16 / 64]uint64

// Range is the set of the ports from first to last.
func Range(first, last uint16) (p Ports) {
	for port := int(first); port <= int(last); port++ {
		p[port/64] |= 1 << (port % 64)
	}
	return p
}

// Parse reads a set as the sysctl has it: "8080,9000-9010", or nothing.
func Parse(text string) (p Ports, err error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return p, nil
	}
	for _, part := range strings.Split(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, errFirst := strconv.ParseUint(from, 10, 16)
		last, errLast := strconv.ParseUint(to, 10, 16)
		if errFirst != nil || errLast != nil || first > last {
			return Ports{}, fmt.Errorf("%q is no list of ports", text)
		}
		p = p.With(Range(uint16(first), uint16(last)))
	}
	return p, nil
}

// String writes the set as the sysctl has it.
func (p Ports) String() string {
	var parts []string
	for port := 0; port < 1<<16; port++ {
		if port%64 == 0 && p[port/64] == 0 {
			port += 63
			continue
		}
		if !p.Has(uint16(port)) {
			continue
		}
		first := port
		for port+1 < 1<<16 && p.Has(uint16(port+1)) {
			port++
		}
		if first == port {
			parts = append(parts, strconv.Itoa(port))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", first, port))
		}
	}
	return strings.Join(parts, ",")
}

// Has reports whether a port is in the set.
func (p Ports) Has(port uint16) bool { return p[port/64]>>(port%64)&1 != 0 }

// With is what is in either set.
func (p Ports) With(other Ports) Ports {
	for i := range p {
		p[i] |= other[i]
	}
	return p
}

// Without is what is in p and not in other.
func (p Ports) Without(other Ports) Ports {
	for i := range p {
		p[i] &^= other[i]
	}
	return p
}

// Count is how many ports there are.
func (p Ports) Count() (n int) {
	for _, word := range p {
		n += bits.OnesCount64(word)
	}
	return n
}
