package cli

import (
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/api"
)

func TestPortLines(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lines []portLine
		want  string
	}{
		"inspected": {linesOf(api.PortMap{
			"80/tcp":  {{HostIP: "0.0.0.0", HostPort: "8080"}, {HostIP: "::", HostPort: "8080"}},
			"443/tcp": {{HostIP: "127.0.0.1", HostPort: "8443"}},
			"9/udp":   {{HostIP: "0.0.0.0", HostPort: "9"}}, "9/tcp": {{HostIP: "0.0.0.0", HostPort: "10"}},
		}), `9/tcp -> 0.0.0.0:10
9/udp -> 0.0.0.0:9
80/tcp -> 0.0.0.0:8080
80/tcp -> [::]:8080
443/tcp -> 127.0.0.1:8443
`},
		"changed": {linesOfRanges([]api.PortSummary{
			{IP: "0.0.0.0", PrivatePort: 80, PublicPort: 8080, Type: "tcp"},
			{IP: "::", PrivatePort: 70, PrivatePortEnd: 72, PublicPort: 7000, PublicPortEnd: 7002, Type: "udp"},
			{IP: "0.0.0.0", PrivatePort: 65534, PrivatePortEnd: 65535, PublicPort: 1, PublicPortEnd: 2, Type: "tcp"},
			{IP: "0.0.0.0", PrivatePort: 90, PrivatePortEnd: 90, PublicPort: 9000, PublicPortEnd: 9009, Type: "tcp"},
			{IP: "127.0.0.1", PrivatePort: 91, PrivatePortEnd: 92, Type: "tcp"},
		}), `70/udp -> [::]:7000
71/udp -> [::]:7001
72/udp -> [::]:7002
80/tcp -> 0.0.0.0:8080
90/tcp -> 0.0.0.0:9000-9009
91/tcp -> 127.0.0.1:
92/tcp -> 127.0.0.1:
65534/tcp -> 0.0.0.0:1
65535/tcp -> 0.0.0.0:2
`},
	} {
		var b strings.Builder
		if err := printPorts(&b, test.lines); err != nil || b.String() != test.want {
			t.Errorf("%s: error %v, printed\n%s", name, err, b.String())
		}
	}
}
