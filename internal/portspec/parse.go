package portspec

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluice-net/sluice/internal/apierr"
	"golang.org/x/sys/unix"
)

const usage = "[IP:]HOST[-HOST]:CONTAINER[-CONTAINER][/tcp|/udp]"

// Parse reads a port specification. Its errors are bad parameters that say
// what is wrong with it.
func Parse(spec string) (Spec, error) {
	if text, option, found := strings.Cut(spec, ","); found {
		return Spec{}, apierr.BadParameter("invalid port specification %q: option %q is not supported yet: use %q", spec, option, text)
	}
	s, reason := parse(spec)
	if reason != "" {
		return Spec{}, apierr.BadParameter("invalid port specification %q: %s", spec, reason)
	}
	return s, nil
}

// parse returns a reason instead of an error, which Parse completes. An empty
// reason is success.
func parse(spec string) (s Spec, reason string) {
	text, protocol, _ := strings.Cut(spec, "/")
	if s.Protocol, reason = parseProtocol(protocol); reason != "" {
		return s, reason
	}
	addr, host, target := split(text)
	if s.HostAddr, reason = parseHostAddr(addr); reason != "" {
		return s, reason
	}
	if s.Target, s.TargetLast, reason = parseRange(target, "container"); reason != "" {
		return s, reason
	}
	if host != "" && host != "0" {
		if s.First, s.Last, reason = parseRange(host, "host"); reason != "" {
			return s, reason
		}
	}
	return s, checkLengths(s)
}

// split takes a specification without protocol apart. What is left out is "".
func split(text string) (addr, host, target string) {
	rest, target, found := cutLast(text)
	if !found {
		return "", "", text
	}
	addr, host, found = cutLast(rest)
	if !found {
		return "", rest, target
	}
	return addr, host, target
}

// cutLast is strings.Cut at the last colon.
func cutLast(text string) (before, after string, found bool) {
	at := strings.LastIndexByte(text, ':')
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+1:], true
}

func parseProtocol(name string) (protocol uint8, reason string) {
	switch strings.ToLower(name) {
	case "", "tcp":
		return unix.IPPROTO_TCP, ""
	case "udp":
		return unix.IPPROTO_UDP, ""
	case "sctp":
		return 0, "sctp is not supported: use tcp or udp"
	}
	return 0, "unknown protocol " + strconv.Quote(name) + ": use tcp or udp"
}

func parseHostAddr(text string) (addr netip.Addr, reason string) {
	if text == "" {
		return addr, ""
	}
	bare := text
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok && strings.Contains(inner, ":") {
			bare = inner
		}
	}
	addr, err := netip.ParseAddr(bare)
	if err != nil || addr.Zone() != "" {
		return addr, strconv.Quote(text) + " is not an IP address: the form is " + usage
	}
	if addr = addr.Unmap(); addr.Is6() && addr.IsLinkLocalUnicast() {
		return addr, "a port cannot be published on the link-local address " + addr.String() + ": it says nothing of the link"
	}
	return addr, ""
}

// parseRange reads "80" or "8000-8010"; whose is "host" or "container".
func parseRange(text, whose string) (first, last uint16, reason string) {
	from, to, isRange := strings.Cut(text, "-")
	if first, reason = parsePort(from, whose); reason != "" {
		return 0, 0, reason
	}
	if !isRange {
		return first, first, ""
	}
	if last, reason = parsePort(to, whose); reason != "" {
		return 0, 0, reason
	}
	if first > last {
		return 0, 0, "the " + whose + " port range " + text + " ends before it begins"
	}
	return first, last, ""
}

func parsePort(text, whose string) (port uint16, reason string) {
	if text == "" {
		return 0, "the " + whose + " port is missing: the form is " + usage
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, "the " + whose + " port " + strconv.Quote(text) + " is not a number from 1 to 65535"
	}
	return uint16(n), ""
}

// checkLengths compares the ranges. A choice among several host ports is for
// a single container port only.
func checkLengths(s Spec) (reason string) {
	if s.First == 0 || s.Target == s.TargetLast {
		return ""
	}
	if s.Last-s.First != s.TargetLast-s.Target {
		return "the host range " + Span(s.First, s.Last) + " and the container range " +
			Span(s.Target, s.TargetLast) + " differ in length"
	}
	return ""
}
