package names

import (
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	const dual6 = "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.0.d.f.ip6.arpa"
	for _, test := range []struct {
		name    string
		kind    uint16
		records string
		code    int
		outside int32
	}{
		{"net01", dns.TypeA, "[172.20.0.2]", dns.RcodeSuccess, 0},
		{"NET01", dns.TypeA, "[172.20.0.2]", dns.RcodeSuccess, 0},
		{"net01.custombridge", dns.TypeA, "[172.20.0.2]", dns.RcodeSuccess, 0},
		{"net01", dns.TypeANY, "[172.20.0.2]", dns.RcodeSuccess, 0},
		{"net01", dns.TypeAAAA, "[]", dns.RcodeSuccess, 0},
		{"dual", dns.TypeA, "[172.20.0.3]", dns.RcodeSuccess, 0},
		{"dual", dns.TypeAAAA, "[fd00:20::3]", dns.RcodeSuccess, 0},
		{"dual", dns.TypeANY, "[172.20.0.3 fd00:20::3]", dns.RcodeSuccess, 0},
		{dual6, dns.TypePTR, "[dual.custombridge.]", dns.RcodeSuccess, 0},
		{strings.ToUpper(dual6), dns.TypePTR, "[dual.custombridge.]", dns.RcodeSuccess, 0},
		{dual6, dns.TypeA, "[]", dns.RcodeSuccess, 0},
		{dual6[2:], dns.TypePTR, "[]", dns.RcodeNameError, 1},
		{"0." + dual6, dns.TypePTR, "[]", dns.RcodeNameError, 1},
		{"33" + dual6[1:], dns.TypePTR, "[]", dns.RcodeNameError, 1},
		{"x" + dual6[1:], dns.TypePTR, "[]", dns.RcodeNameError, 1},
		{"ip6.arpa", dns.TypePTR, "[]", dns.RcodeNameError, 1},
		{"net01", dns.TypeMX, "[]", dns.RcodeSuccess, 0},
		{"net01", dns.TypePTR, "[]", dns.RcodeSuccess, 0},
		{"net01", dns.TypeHTTPS, "[]", dns.RcodeSuccess, 0},
		{"2.0.20.172.in-addr.arpa", dns.TypePTR, "[net01.custombridge.]", dns.RcodeSuccess, 0},
		{"2.0.20.172.IN-ADDR.ARPA", dns.TypePTR, "[net01.custombridge.]", dns.RcodeSuccess, 0},
		{"2.0.20.172.in-addr.arpa", dns.TypeA, "[]", dns.RcodeSuccess, 0},
		{"3.0.20.172.in-addr.arpa", dns.TypePTR, "[]", dns.RcodeNameError, 1},
		{"20.172.in-addr.arpa", dns.TypePTR, "[]", dns.RcodeNameError, 1},
		{"in-addr.arpa", dns.TypeNS, "[]", dns.RcodeNameError, 1},
		{"example.net", dns.TypeA, "[]", dns.RcodeNameError, 1},
		{".", dns.TypeNS, "[]", dns.RcodeNameError, 1},
	} {
		b := newBench(directory{})
		answer := b.ask(t, question(test.name, test.kind))
		records := []string{}
		for _, record := range answer.Answer {
			if record.Header().Ttl > 5 || record.Header().Name != dns.Fqdn(test.name) {
				t.Errorf("%s: %s", test.name, record)
			}
			records = append(records, dns.Field(record, 1))
		}
		if fmt.Sprint(records) != test.records || answer.Rcode != test.code || b.forwarder.asked.Load() != test.outside {
			t.Errorf("%s %s: %v, %s, %d asked outside; want %s, %s, %d", test.name, dns.TypeToString[test.kind], records,
				dns.RcodeToString[answer.Rcode], b.forwarder.asked.Load(), test.records, dns.RcodeToString[test.code], test.outside)
		}
		if answer.IsEdns0() != nil {
			t.Errorf("%s: EDNS without being asked", test.name)
		}
	}
}

// TestSizes covers what fits into a datagram, by what the client takes.
func TestSizes(t *testing.T) {
	t.Parallel()
	b := newBench(directory{})
	for size, whole := range map[uint16]bool{0: false, 100: false, 512: false, 1232: false, 4096: true} {
		query := question("many", dns.TypeA)
		if size > 0 {
			query.SetEdns0(size, true)
		}
		answer := b.ask(t, query)
		if answer.Truncated == whole || (len(answer.Answer) == 200) != whole || answer.Len() > max(512, int(size)) {
			t.Errorf("%d bytes: %d records in %d bytes, cut: %v", size, len(answer.Answer), answer.Len(), answer.Truncated)
		}
		if opt := answer.IsEdns0(); (opt != nil) != (size > 0) || opt != nil && !opt.Do() {
			t.Errorf("%d bytes: EDNS of the answer: %v", size, opt)
		}
	}
	if answer := b.askBy(t, question("many", dns.TypeA), &net.TCPAddr{}); answer.Truncated || len(answer.Answer) != 200 {
		t.Errorf("TCP: %d records, cut: %v", len(answer.Answer), answer.Truncated)
	}
}

func TestQueriesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	b := newBench(directory{})
	two := question("net01", dns.TypeA)
	two.Question = append(two.Question, two.Question[0])
	none := question("net01", dns.TypeA)
	none.Question = nil
	notify := question("net01", dns.TypeA)
	notify.Opcode = dns.OpcodeNotify
	version := question("net01", dns.TypeA).SetEdns0(1232, false)
	version.IsEdns0().SetVersion(1)
	for name, test := range map[string]struct {
		query *dns.Msg
		code  int
	}{
		"two questions": {two, dns.RcodeFormatError}, "none": {none, dns.RcodeFormatError},
		"notify": {notify, dns.RcodeNotImplemented}, "EDNS version 1": {version, dns.RcodeBadVers},
	} {
		if answer := b.ask(t, test.query); answer.Rcode != test.code || len(answer.Answer) > 0 {
			t.Errorf("%s: %s, want %s", name, dns.RcodeToString[answer.Rcode], dns.RcodeToString[test.code])
		}
	}
	if b.forwarder.asked.Load() != 0 {
		t.Error("it was asked outside")
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	inside := newBench(directory{internal: true})
	if answer := inside.ask(t, question("example.net", dns.TypeA)); answer.Rcode != dns.RcodeServerFailure || inside.forwarder.asked.Load() != 0 {
		t.Errorf("internal: %s, asked outside %d times", dns.RcodeToString[answer.Rcode], inside.forwarder.asked.Load())
	}
	inside.ask(t, question("net01", dns.TypeA))
	b := newBench(directory{})
	b.ask(t, question("example.net", dns.TypeA))
	b.forwarder.nobody = true
	if answer := b.ask(t, question("example.net", dns.TypeA)); answer.Rcode != dns.RcodeServerFailure {
		t.Errorf("nobody answers: %s", dns.RcodeToString[answer.Rcode])
	}
	for range maxForwards { // as many as may be under way
		b.forwards <- struct{}{}
	}
	before := b.forwarder.asked.Load()
	if answer := b.ask(t, question("example.net", dns.TypeA)); answer.Rcode != dns.RcodeServerFailure || b.forwarder.asked.Load() != before {
		t.Errorf("one too many: %s", dns.RcodeToString[answer.Rcode])
	}
	if answer := b.ask(t, question("net01", dns.TypeA)); len(answer.Answer) != 1 {
		t.Errorf("our own names while many are outside: %v", answer)
	}
	if want := map[string]int{Refused: 1, Answered: 1}; !maps.Equal(inside.outcomes, want) {
		t.Errorf("internal: %v, want %v", inside.outcomes, want)
	}
	if want := map[string]int{Forwarded: 1, Failed: 1, Limited: 1, Answered: 1}; !maps.Equal(b.outcomes, want) {
		t.Errorf("outcomes %v, want %v", b.outcomes, want)
	}
}
