package e2e

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// dnsAsk asks the server ADDR:PORT by the NETWORK udp or tcp for NAME and TYPE,
// with EDNS for datagrams of SIZE bytes unless that is 0. It prints the code,
// "tc" when the answer was cut, and the data of the records, sorted as they came.
func dnsAsk(args []string) error {
	size, err := strconv.ParseUint(args[4], 10, 16)
	if err != nil {
		return err
	}
	query := new(dns.Msg).SetQuestion(dns.Fqdn(args[2]), dns.StringToType[args[3]])
	if size > 0 {
		query.SetEdns0(uint16(size), false)
	}
	client := dns.Client{Net: args[1], Timeout: 3 * askTimeout, UDPSize: max(dns.MinMsgSize, uint16(size))}
	answer, _, err := client.Exchange(query, args[0])
	if err != nil {
		return err
	}
	words := []string{dns.RcodeToString[answer.Rcode]}
	if answer.Truncated {
		words = append(words, "tc")
	}
	for _, record := range answer.Answer {
		words = append(words, strings.TrimPrefix(record.String(), record.Header().String()))
	}
	fmt.Println(strings.Join(words, " "))
	return nil
}

// dnsServe serves a zone at ADDR:PORT by UDP and TCP, in which each name has
// the address ADDRESS. The first label of a name may say what else to do.
func dnsServe(args []string) error {
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		answer := new(dns.Msg).SetReply(query)
		q := query.Question[0]
		label, _, _ := strings.Cut(q.Name, ".")
		header := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: 60}
		switch {
		case label == "refused":
			answer.Rcode = dns.RcodeRefused
		case label == "missing":
			answer.Rcode = dns.RcodeNameError
		case label == "silent":
			return
		case q.Qtype == dns.TypeTXT:
			for i := range 100 {
				answer.Answer = append(answer.Answer, &dns.TXT{Hdr: header, Txt: []string{fmt.Sprintf("%032d", i)}})
			}
		case q.Qtype == dns.TypeA:
			answer.Answer = append(answer.Answer, &dns.A{Hdr: header, A: net.ParseIP(args[1])})
		}
		if w.LocalAddr().Network() == "udp" {
			answer.Truncate(dns.MinMsgSize)
		}
		_ = w.WriteMsg(answer)
	})
	ended := make(chan error)
	for _, network := range []string{"udp", "tcp"} {
		go func() { ended <- dns.ListenAndServe(args[0], network, handler) }()
	}
	return errors.Join(<-ended, <-ended)
}
