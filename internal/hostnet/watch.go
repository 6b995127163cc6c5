package hostnet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// A burst of notifications ends when none has come for quiet, and is
	// acted upon after patience even if it goes on.
	quiet    = 2 * time.Millisecond
	patience = 20 * time.Millisecond

	// receiveBuffer holds the notifications of a few thousand devices.
	receiveBuffer = 4 << 20
)

// rtnetlink groups of what Watcher follows (linux/rtnetlink.h).
const (
	groupLink        = 1
	groupIPv4Address = 5
	groupIPv6Address = 9
	groupIPv4Netconf = 24
	groupIPv6Netconf = 25
)

// Watcher follows the devices and addresses of one network namespace.
type Watcher struct {
	notifications *nl.NetlinkSocket
	netlink       *netlink.Handle
	selector      selector
}

// NewWatcher subscribes to the calling thread's network namespace. own tells
// sluice's devices by name; it is called for every change, so it must be quick.
// only names the uplinks; when it is empty they are all devices of the
// namespace with an Ethernet link layer that are not our own and have no
// master.
func NewWatcher(own func(device string) bool, only []string) (*Watcher, error) {
	return newWatcher(own, only, receiveBuffer)
}

func newWatcher(own func(device string) bool, only []string, buffer int) (*Watcher, error) {
	notifications, err := nl.Subscribe(unix.NETLINK_ROUTE,
		groupLink, groupIPv4Address, groupIPv6Address, groupIPv4Netconf, groupIPv6Netconf)
	if err != nil {
		return nil, fmt.Errorf("subscribe to the host's network: %w", err)
	}
	if err := notifications.SetReceiveBufferSize(buffer, true); err != nil {
		notifications.Close()
		return nil, fmt.Errorf("subscribe to the host's network: %w", err)
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		notifications.Close()
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &Watcher{notifications: notifications, netlink: handle, selector: selector{own, only}}, nil
}

// Run calls onState with the state as it is and then after every change of it,
// onForwarding whenever somebody wrote the namespace's forwarding switch, of either
// family, or may have, and onOwn with the names of sluice's devices that changed, lost an address
// or went, whoever did it. It ends with ctx, whose error it returns, and closes
// the watcher.
func (w *Watcher) Run(ctx context.Context, onState func(State), onForwarding func(), onOwn func(devices []string)) error {
	defer w.netlink.Close()
	defer w.notifications.Close()
	defer context.AfterFunc(ctx, w.notifications.Close)()

	table, err := w.list()
	if err != nil {
		return err
	}
	last := table.state(w.selector)
	onState(last)
	for {
		burst, err := w.receiveBurst(table)
		if errors.Is(err, unix.ENOBUFS) {
			// Notifications were lost: any of them.
			burst.forwarding = true
			table, err = w.relist()
			burst.own = w.ownDevices(table)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("watch the host's network: %w", err)
		}
		if burst.forwarding {
			onForwarding()
		}
		if len(burst.own) > 0 {
			onOwn(burst.own)
		}
		if state := table.state(w.selector); !state.Equal(last) {
			last = state
			onState(state)
		}
	}
}

// burst is what a burst of notifications was about, besides the table.
type burst struct {
	forwarding bool
	own        []string // devices of ours
}

// touch adds a device if it is one of ours.
func (b *burst) touch(s selector, d device) {
	if d.name != "" && !slices.Contains(b.own, d.name) && s.own(d.name) {
		b.own = append(b.own, d.name)
	}
}

// receiveBurst waits for a notification and applies it and those that follow
// it closely to the table.
func (w *Watcher) receiveBurst(t *table) (b burst, err error) {
	if err := w.setTimeout(0); err != nil {
		return b, err
	}
	var deadline time.Time
	for {
		messages, _, err := w.notifications.Receive()
		if errors.Is(err, unix.EAGAIN) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		for _, m := range messages {
			before := t.devices[subject(m)]
			if err := t.apply(m); err != nil {
				return b, err
			}
			b.touch(w.selector, before)
			b.touch(w.selector, t.devices[subject(m)])
			b.forwarding = b.forwarding || isForwardingSwitch(m)
		}
		switch now := time.Now(); {
		case deadline.IsZero():
			deadline = now.Add(patience)
			if err := w.setTimeout(quiet); err != nil {
				return b, err
			}
		case now.After(deadline):
			return b, nil
		}
	}
}

// ownDevices returns the names of those in the table that are ours.
func (w *Watcher) ownDevices(t *table) []string {
	var b burst
	if t != nil { // or the list has failed
		for _, d := range t.devices {
			b.touch(w.selector, d)
		}
	}
	return b.own
}

// setTimeout bounds the next receives; 0 waits for ever.
func (w *Watcher) setTimeout(d time.Duration) error {
	tv := unix.NsecToTimeval(d.Nanoseconds())
	return w.notifications.SetReceiveTimeout(&tv)
}

// relist starts anew after notifications were lost. Those that are still queued
// are older than the list and have gaps, so they go first; the kernel, too,
// queues nothing more until the queue was empty.
func (w *Watcher) relist() (*table, error) {
	if err := w.setTimeout(quiet); err != nil {
		return nil, err
	}
	for {
		_, _, err := w.notifications.Receive()
		if errors.Is(err, unix.EAGAIN) {
			return w.list()
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return nil, err
		}
	}
}

// list reads the namespace's devices and addresses. Notifications that are
// queued from then on are applied on top: the last word on each is the newest.
func (w *Watcher) list() (*table, error) {
	for {
		t, err := w.listOnce()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return t, err
		}
	}
}

func (w *Watcher) listOnce() (*table, error) {
	t := newTable()
	links, err := w.netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the host's devices: %w", err)
	}
	for _, link := range links {
		t.addDevice(link)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		addrs, err := w.netlink.AddrList(nil, family)
		if err != nil {
			return nil, fmt.Errorf("list the host's addresses: %w", err)
		}
		for _, a := range addrs {
			if addr, ok := netip.AddrFromSlice(a.IP); ok {
				t.addAddress(address{
					addr: addr.Unmap(), ifindex: a.LinkIndex, global: a.Scope == unix.RT_SCOPE_UNIVERSE, flags: uint32(a.Flags),
				})
			}
		}
	}
	return t, nil
}
