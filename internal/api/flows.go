package api

import (
	"context"
	"net/url"
)

// Flow is a line of GET /v1/conntrack: a flow, both directions in one.
type Flow struct {
	Family   string // "ipv4", "ipv6"
	Protocol string // "tcp", "udp", "icmp", "icmp6"
	State    string // "ESTABLISHED", "UNREPLIED", …
	Age      int    // seconds since its first packet
	Idle     int    // seconds since its last packet
	Left     int    // seconds until it ends without another

	// Of packets of the direction that began it, before and after translation:
	// "address:port", or the address alone for an ICMP echo.
	Source, Destination                     string
	TranslatedSource, TranslatedDestination string
	// ID and TranslatedID are those of an ICMP echo.
	ID           uint16 `json:",omitempty"`
	TranslatedID uint16 `json:",omitempty"`

	Container string // that is translated: its name
	Peer      string `json:",omitempty"` // name of the container at the other end
	Kind      string // of the rule: "masquerade", "publish", "alias"
	Rule      string // the published port, the alias's name, or the network that is masqueraded
}

// FlowFilter picks flows; "" picks all.
type FlowFilter struct {
	Container   string // reference of one that is either end
	Source      string // address or prefix, of the direction that began it, before or after translation
	Destination string // likewise
	Port        string // any of the flow's
	Protocol    string // "tcp", "udp", "icmp", "icmp6"
	State       string // as in Flow, in any case
	Family      string // "ipv4", "ipv6"
}

// Query is the filter as a URL has it.
func (f FlowFilter) Query() url.Values {
	query := url.Values{}
	for name, value := range map[string]string{
		"container": f.Container, "src": f.Source, "dst": f.Destination, "port": f.Port,
		"proto": f.Protocol, "state": f.State, "family": f.Family,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query
}

// FlowFilterOf is the filter that a URL has.
func FlowFilterOf(query url.Values) FlowFilter {
	return FlowFilter{
		Container: query.Get("container"), Source: query.Get("src"), Destination: query.Get("dst"), Port: query.Get("port"),
		Protocol: query.Get("proto"), State: query.Get("state"), Family: query.Get("family"),
	}
}

// FlushFlows is the body of POST /v1/conntrack/flush.
type FlushFlows struct {
	FlowFilter
	All bool // needed when the filter picks all
}

// FlowCount answers GET /v1/conntrack/count, and POST /v1/conntrack/flush with
// the number of flows that were flushed.
type FlowCount struct{ Count int }

// ListFlows calls emit with every flow that the filter picks.
func (c *Client) ListFlows(ctx context.Context, f FlowFilter, emit func(Flow) error) error {
	answer, err := c.request(ctx, "GET", "/conntrack?"+f.Query().Encode(), nil)
	if err != nil {
		return err
	}
	return readLines(answer, emit)
}

// CountFlows returns how many flows the filter picks.
func (c *Client) CountFlows(ctx context.Context, f FlowFilter) (FlowCount, error) {
	return fetch[FlowCount](ctx, c, "GET", "/conntrack/count?"+f.Query().Encode(), nil)
}

// FlushFlows ends the flows that the filter picks.
func (c *Client) FlushFlows(ctx context.Context, body FlushFlows) (FlowCount, error) {
	return fetch[FlowCount](ctx, c, "POST", "/conntrack/flush", body)
}
