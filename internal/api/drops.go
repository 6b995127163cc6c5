package api

import (
	"context"
	"errors"
	"net/url"
	"time"
)

// Drop is a line of GET /v1/drops: one dropped packet, or how many more there
// were.
type Drop struct {
	Time        time.Time
	Reason      string
	Description string // of the reason
	// NotShown is how many further packets were dropped for the reason and are
	// no lines: their number is bounded. The fields below are then empty.
	NotShown uint64 `json:",omitempty"`

	Hook     string `json:",omitempty"` // where: "container", "uplink" or "bridge"
	Device   string `json:",omitempty"` // at that hook
	Sender   string `json:",omitempty"` // name of the container that sent it
	Receiver string `json:",omitempty"` // name of the container that it was for

	Packet         string `json:",omitempty"` // in a line, like tcpdump's
	Protocol       string `json:",omitempty"` // "tcp", "udp", "icmp", "icmp6", "arp", …
	Source         string `json:",omitempty"` // address, or "address:port"
	Destination    string `json:",omitempty"`
	SourceMAC      string `json:",omitempty"`
	DestinationMAC string `json:",omitempty"`
	Length         uint32 `json:",omitempty"` // from the network header on
	Frame          []byte `json:",omitempty"` // its beginning, from the Ethernet header on if its device has those
}

// DropOptions choose from the drops.
type DropOptions struct {
	Reasons   []string // names; none for all
	Container string   // that sent it or was to get it; "" for all
}

// ErrWatchEnded is returned when the daemon ends during a watch.
var ErrWatchEnded = errors.New("the daemon has ended, and nothing is watched any more")

// WatchDrops calls emit with every packet that is dropped from now on. It ends
// with ctx without an error, and otherwise with one.
func (c *Client) WatchDrops(ctx context.Context, o DropOptions, emit func(Drop) error) error {
	query := url.Values{"reason": o.Reasons}
	if o.Container != "" {
		query.Set("container", o.Container)
	}
	answer, err := c.request(ctx, "GET", "/drops?"+query.Encode(), nil)
	if err == nil {
		err = readLines(answer, emit)
		if err == nil || errors.Is(err, ErrDaemonGone) {
			err = ErrWatchEnded
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}
