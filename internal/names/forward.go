package names

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// MaxServers is how many servers are asked for a query, one after another.
const MaxServers = 3

const (
	// serverTimeout is how long each of them has.
	serverTimeout = 4 * time.Second
	// maxQueries is how many queries of all sandboxes may be outside: each
	// has a socket of the daemon.
	maxQueries = 1024
	// maxUDP is the largest datagram we say that we take.
	maxUDP = 4096
)

// Client is a Forwarder. Its sockets are in the namespace of the process: the
// host's.
type Client struct {
	// Default returns the servers of a sandbox that has none of its own.
	Default func() []netip.AddrPort

	queries chan struct{}
}

// NewClient returns a Client with the servers of everyone.
func NewClient(servers func() []netip.AddrPort) *Client {
	return &Client{Default: servers, queries: make(chan struct{}, maxQueries)}
}

var _ Forwarder = (*Client)(nil)

// Forward asks the servers, at most three, in turn until one answers with
// something other than SERVFAIL and REFUSED. When none does, what the last one
// said is returned. The network is "udp" or "tcp", as the query came.
func (c *Client) Forward(ctx context.Context, query *dns.Msg, network string, servers []netip.AddrPort) (last *dns.Msg) {
	select {
	case c.queries <- struct{}{}:
		defer func() { <-c.queries }()
	default:
		return nil
	}
	if len(servers) == 0 {
		servers = c.Default()
	}
	sent := query.Copy()
	sent.Id = dns.Id() // the container's own would let it guess ours
	for _, server := range servers[:min(len(servers), MaxServers)] {
		answer := ask(ctx, sent, network, server.String())
		if ctx.Err() != nil {
			return nil
		}
		if answer == nil {
			continue
		}
		answer.Id = query.Id
		last = answer
		if answer.Rcode != dns.RcodeServerFailure && answer.Rcode != dns.RcodeRefused {
			break
		}
	}
	return last
}

// ask asks one server, by TCP too when its datagram was cut. It returns nil
// without an answer to this query.
func ask(ctx context.Context, query *dns.Msg, network, server string) *dns.Msg {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	answer := exchange(ctx, query, network, server)
	if answer != nil && answer.Truncated && network == "udp" {
		if whole := exchange(ctx, query, "tcp", server); whole != nil {
			return whole
		}
	}
	return answer
}

func exchange(ctx context.Context, query *dns.Msg, network, server string) *dns.Msg {
	client := dns.Client{Net: network, Timeout: serverTimeout}
	conn, err := client.DialContext(ctx, server)
	if err != nil {
		return nil
	}
	defer conn.Close()
	// Reading itself knows the context's deadline alone.
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	conn.UDPSize = maxUDP
	if conn.WriteMsg(query) != nil {
		return nil
	}
	for {
		answer, err := conn.ReadMsg()
		var broken net.Error
		switch {
		case err == nil && answers(answer, query):
			return answer
		case network != "udp", errors.As(err, &broken):
			return nil
		}
		// Anybody may have sent it (RFC 5452 9.1): the server's own is still to come.
	}
}

// answers reports whether a message answers the query.
func answers(answer, query *dns.Msg) bool {
	if answer == nil || !answer.Response || answer.Id != query.Id {
		return false
	}
	if len(answer.Question) != 1 { // servers that refuse leave it out
		return len(answer.Question) == 0 && answer.Rcode != dns.RcodeSuccess
	}
	got, want := answer.Question[0], query.Question[0]
	return got.Qtype == want.Qtype && got.Qclass == want.Qclass && strings.EqualFold(got.Name, want.Name)
}
