package hostnet

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Rule is a policy rule that asks where a packet comes in (`ip rule … iif`).
type Rule struct {
	Family   int // 4 or 6
	Priority int
	IIF      string
	Not      bool // it matches all that comes in elsewhere
}

// String names the rule as `ip` would.
func (r Rule) String() string {
	command, not := "ip rule", ""
	if r.Family == 6 {
		command = "ip -6 rule"
	}
	if r.Not {
		not = "not "
	}
	return fmt.Sprintf("%s %d (%siif %s)", command, r.Priority, not, r.IIF)
}

// RulesByDevice returns the policy rules that ask where a packet comes in.
func (h *Host) RulesByDevice() (rules []Rule, err error) {
	for number, family := range map[int]int{4: netlink.FAMILY_V4, 6: netlink.FAMILY_V6} {
		found, err := h.netlink.RuleList(family)
		for errors.Is(err, netlink.ErrDumpInterrupted) {
			found, err = h.netlink.RuleList(family)
		}
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // a kernel without policy routing, or without IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("list the policy rules: %w", err)
		}
		for _, r := range found {
			if r.IifName != "" {
				rules = append(rules, Rule{Family: number, Priority: r.Priority, IIF: r.IifName, Not: r.Invert})
			}
		}
	}
	return rules, nil
}

// RoutesBy counts the unicast routes of a family, 4 or 6, that lead through a
// device, in any table; link-local ones of IPv6 are left out. isDefault says that
// one of them is a default route.
func (h *Host) RoutesBy(ifindex, family int) (count int, isDefault bool, err error) {
	number := netlink.FAMILY_V4
	if family == 6 {
		number = netlink.FAMILY_V6
	}
	filter := &netlink.Route{LinkIndex: ifindex, Table: unix.RT_TABLE_UNSPEC}
	found, err := h.netlink.RouteListFiltered(number, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		found, err = h.netlink.RouteListFiltered(number, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	}
	if err != nil {
		return 0, false, fmt.Errorf("list the host's routes: %w", err)
	}
	for _, r := range found {
		if r.Type != unix.RTN_UNICAST || r.Dst != nil && (r.Dst.IP.IsLinkLocalUnicast() || r.Dst.IP.IsMulticast()) {
			continue
		}
		count++
		if r.Dst == nil || r.Dst.IP.IsUnspecified() {
			isDefault = true
		}
	}
	return count, isDefault, nil
}
