// Package names is the DNS server that a container finds at 127.0.0.11. Each
// sandbox has sockets of its own, which the daemon opens inside it, and one
// small server on them: it answers from a Directory and hands on the rest.
package names

import (
	"context"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/sluice-net/sluice/internal/datapath"
)

// Server is what resolv.conf of a sandbox names; a program on the sandbox's
// loopback device leads its port 53 to the daemon's socket.
var Server = netip.AddrFrom4([4]byte{datapath.ResolverAddr >> 24, 0, 0, datapath.ResolverAddr & 0xff})

// Directory knows the names of a sandbox; *engine.Engine is one. Names come
// without the last dot and in any case. Its methods may be called from any
// goroutine.
type Directory interface {
	// ResolveName returns a name's addresses; false when nobody has the name.
	ResolveName(sandbox, name string) ([]netip.Addr, bool)
	// ResolveAddress returns the full name of an address.
	ResolveAddress(sandbox string, addr netip.Addr) (string, bool)
	// ReachesOutside reports whether the sandbox may ask servers outside.
	ReachesOutside(sandbox string) bool
}

// Forwarder asks the servers outside. It returns nil when there is no answer.
// The answer's ID is the query's.
type Forwarder interface {
	Forward(ctx context.Context, query *dns.Msg, network string, servers []netip.AddrPort) *dns.Msg
}

// How a query ended.
const (
	Answered  = "answered"  // from the directory, be it that the name has no such record
	Forwarded = "forwarded" // with what a server outside said
	Failed    = "failed"    // no server outside gave an answer
	Limited   = "limited"   // too many queries were under way
	Refused   = "refused"   // it may not leave an internal network, or it makes no sense
)

// Outcomes are all of them.
var Outcomes = []string{Answered, Forwarded, Failed, Limited, Refused}

// Observer is told how each query ended, and how long that took.
type Observer func(outcome string, took time.Duration)

// ttl is that of our own records, in seconds: asking again costs nothing, and an
// address may have another owner soon.
const ttl = 1
