package netdev

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
)

// ErrForeign is returned for a device that another instance has made.
var ErrForeign = errors.New("the devices of two instances do not go together: reset that one with its --root first, or use another network namespace")

// A mark is the alias (`ip link` shows it) of every device that this package
// makes in the host's namespace: this word and the instance.
const markWord = "sluice "

// maxAlias is what the kernel keeps of an alias: IFALIASZ less the final zero.
const maxAlias = 255

// markOf returns an instance's mark. A name that is too long is told by its
// end and its hash.
func markOf(instance string) string {
	if room := maxAlias - len(markWord); len(instance) > room {
		hash := fmt.Sprintf("%x...", sha256.Sum256([]byte(instance)))
		instance = hash + instance[len(instance)-room+len(hash):]
	}
	return markWord + instance
}

// refuseForeign returns ErrForeign for a device that carries the mark of another
// instance. One without a mark is taken: it may be ours from a moment before a
// crash.
func (h *Host) refuseForeign(link netlink.Link) error {
	instance, marked := strings.CutPrefix(link.Attrs().Alias, markWord)
	if !marked || link.Attrs().Alias == h.mark {
		return nil
	}
	return fmt.Errorf("%s belongs to the instance %s: %w", link.Attrs().Name, instance, ErrForeign)
}

// setMark marks a device as made by us.
func (h *Host) setMark(link netlink.Link) error {
	if link.Attrs().Alias == h.mark {
		return nil
	}
	if err := h.refuseForeign(link); err != nil {
		return err
	}
	if err := h.netlink.LinkSetAlias(link, h.mark); err != nil {
		return fmt.Errorf("mark %s as ours: %w", link.Attrs().Name, err)
	}
	return nil
}

// Marked returns the names of the devices that this instance made. It lists
// every device of the host.
func (h *Host) Marked() ([]string, error) {
	links, err := h.netlink.LinkList()
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		links, err = h.netlink.LinkList()
	}
	if err != nil {
		return nil, fmt.Errorf("list the host's devices: %w", err)
	}
	var names []string
	for _, link := range links {
		if link.Attrs().Alias == h.mark {
			names = append(names, link.Attrs().Name)
		}
	}
	return names, nil
}
