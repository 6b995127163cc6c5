package names

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// maxForwards is how many queries of one sandbox may be with servers outside.
const maxForwards = 128

// resolver answers the queries of one sandbox; it is a dns.Handler.
type resolver struct {
	ctx       context.Context // ends with the sandbox
	sandbox   string
	servers   []netip.AddrPort // asked outside; none for the daemon's
	directory Directory
	forwarder Forwarder
	observer  *atomic.Pointer[Observer]
	forwards  chan struct{} // one element per query that is outside
}

var _ dns.Handler = (*resolver)(nil)

// ServeDNS answers one query. Its writer is used once.
func (r *resolver) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	began := time.Now()
	network := w.LocalAddr().Network()
	answer, outcome := r.answer(query, network)
	finish(answer, query, network)
	_ = w.WriteMsg(answer) // who does not wait any more misses nothing
	if observe := r.observer.Load(); observe != nil {
		(*observe)(outcome, time.Since(began))
	}
}

func (r *resolver) answer(query *dns.Msg, network string) (*dns.Msg, string) {
	if query.Opcode != dns.OpcodeQuery {
		return failure(query, dns.RcodeNotImplemented), Refused
	}
	if len(query.Question) != 1 {
		return failure(query, dns.RcodeFormatError), Refused
	}
	if opt := query.IsEdns0(); opt != nil && opt.Version() != 0 {
		return failure(query, dns.RcodeBadVers), Refused
	}
	if records, ok := r.local(query.Question[0]); ok {
		answer := new(dns.Msg).SetReply(query)
		answer.Authoritative, answer.RecursionAvailable = true, true
		answer.Answer = records
		return answer, Answered
	}
	return r.outside(query, network)
}

// local returns the records of a name that is ours. A name that has none of the
// type asked for is ours still: no error and no record, for clients like musl
// take NXDOMAIN for one type as the end of the name.
func (r *resolver) local(q dns.Question) (records []dns.RR, ok bool) {
	if q.Qclass != dns.ClassINET && q.Qclass != dns.ClassANY {
		return nil, false
	}
	header := dns.RR_Header{Name: q.Name, Class: dns.ClassINET, Ttl: ttl}
	if addr, ok := reverse(q.Name); ok {
		name, ok := r.directory.ResolveAddress(r.sandbox, addr)
		if ok && (q.Qtype == dns.TypePTR || q.Qtype == dns.TypeANY) {
			header.Rrtype = dns.TypePTR
			records = append(records, &dns.PTR{Hdr: header, Ptr: dns.Fqdn(name)})
		}
		return records, ok
	}
	addrs, ok := r.directory.ResolveName(r.sandbox, strings.TrimSuffix(q.Name, "."))
	for _, addr := range addrs {
		header.Rrtype = dns.TypeA
		if addr.Is6() {
			header.Rrtype = dns.TypeAAAA
		}
		if q.Qtype == header.Rrtype || q.Qtype == dns.TypeANY {
			records = append(records, addressRecord(header, addr))
		}
	}
	return records, ok
}

func addressRecord(header dns.RR_Header, addr netip.Addr) dns.RR {
	if addr.Is6() {
		return &dns.AAAA{Hdr: header, AAAA: net.IP(addr.AsSlice())}
	}
	return &dns.A{Hdr: header, A: net.IP(addr.AsSlice())}
}

// outside hands the query on, if it may leave.
func (r *resolver) outside(query *dns.Msg, network string) (*dns.Msg, string) {
	if !r.directory.ReachesOutside(r.sandbox) {
		return failure(query, dns.RcodeServerFailure), Refused
	}
	select {
	case r.forwards <- struct{}{}:
		defer func() { <-r.forwards }()
	default:
		return failure(query, dns.RcodeServerFailure), Limited
	}
	if answer := r.forwarder.Forward(r.ctx, query, network, r.servers); answer != nil {
		return answer, Forwarded
	}
	return failure(query, dns.RcodeServerFailure), Failed
}

func failure(query *dns.Msg, code int) *dns.Msg {
	answer := new(dns.Msg).SetRcode(query, code)
	answer.RecursionAvailable = true
	return answer
}

// finish makes an answer fit: EDNS goes to those alone that speak it, and what
// is too large is cut, with TC set.
func finish(answer, query *dns.Msg, network string) {
	size := dns.MaxMsgSize
	opt := query.IsEdns0()
	if network == "udp" {
		size = dns.MinMsgSize
		if opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
	}
	if opt != nil && answer.IsEdns0() == nil {
		answer.SetEdns0(maxUDP, opt.Do())
	}
	answer.Compress = true
	answer.Truncate(size)
}
