package names

import (
	"net/netip"
	"slices"
	"strings"
)

// reverse returns the address that a name below in-addr.arpa or ip6.arpa stands
// for.
func reverse(name string) (netip.Addr, bool) {
	if labels, ok := cutSuffixFold(name, ".in-addr.arpa."); ok {
		return reverse4(labels)
	}
	if labels, ok := cutSuffixFold(name, ".ip6.arpa."); ok {
		return reverse6(labels)
	}
	return netip.Addr{}, false
}

func cutSuffixFold(name, suffix string) (string, bool) {
	at := len(name) - len(suffix)
	if at <= 0 || !strings.EqualFold(name[at:], suffix) {
		return "", false
	}
	return name[:at], true
}

// reverse4 reads the bytes of an address from the last to the first.
func reverse4(labels string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(labels)
	if err != nil || !addr.Is4() {
		return netip.Addr{}, false
	}
	b := addr.As4()
	slices.Reverse(b[:])
	return netip.AddrFrom4(b), true
}

// reverse6 reads the 32 hexadecimal digits of an address from the last to the
// first (RFC 3596, 2.5).
func reverse6(labels string) (netip.Addr, bool) {
	digits := strings.Split(labels, ".")
	slices.Reverse(digits)
	var text strings.Builder
	for i, digit := range digits {
		if len(digit) != 1 {
			return netip.Addr{}, false
		}
		if i > 0 && i%4 == 0 {
			text.WriteByte(':')
		}
		text.WriteString(digit)
	}
	addr, err := netip.ParseAddr(text.String())
	return addr, err == nil && len(digits) == 32
}
