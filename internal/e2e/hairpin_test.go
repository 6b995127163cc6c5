package e2e

import (
	"strings"
	"testing"
)

// TestHairpin covers containers that reach each other, or themselves, by the
// host's published ports: by each address of the host, TCP and UDP (nft_nat.sh,
// RFC 4787 REQ-9, RFC 5382 REQ-8). Who is another's sees the client's own
// address, a container itself that of its gateway.
func TestHairpin(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		l.Host.Address("eth0", f.second+f.prefix)
		f.network(l, "custombridge")
		runServer(l, "tcp00", "tcp-echo", ":80", "-p", "8080:80")
		runServer(l, "udp00", "udp-echo", ":53", "-p", "5353:53/udp")
		l.OK("run", "-d", "--name=beside")
		l.OK("run", "-d", "--name=elsewhere", "--network=custombridge")
		greeting(l.Client, port(f.second, "8080")) // the host's new address is known
		datagram(l.Client, port(f.second, "5353"), "up?")
		for client, addrs := range map[string][]string{
			"beside":    {f.host, f.second, f.gateway},
			"elsewhere": {f.host, f.second, f.other},
			"tcp00":     {f.host, f.second, f.gateway},
			"udp00":     {f.host, f.second, f.gateway},
		} {
			seen := func(server string) string {
				switch client {
				case server:
					return f.gateway
				case "elsewhere":
					return f.inOther
				}
				return f.addressOf(l, client, "bridge")
			}
			for _, addr := range addrs {
				if got := hostPart(t, greetingInside(l, client, port(addr, "8080"))); got != seen("tcp00") {
					t.Errorf("TCP from %s by %s: the server saw %s, want %s", client, addr, got, seen("tcp00"))
				}
				got, _, _ := strings.Cut(persistInside(l, client, "udp-ask", port(addr, "5353"), "hello"), " ")
				if got = hostPart(t, got); got != seen("udp00") {
					t.Errorf("UDP from %s by %s: the server saw %s, want %s", client, addr, got, seen("udp00"))
				}
			}
		}
	})
}
