package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/cliformat"
)

func TestFlowRows(t *testing.T) {
	t.Parallel()
	tcp := api.Flow{
		Family: "ipv4", Protocol: "tcp", State: "ESTABLISHED", Age: 75, Idle: 15, Left: 7425,
		Source: "172.17.0.2:40000", Destination: "198.51.100.7:443", TranslatedSource: "192.0.2.1:61000", TranslatedDestination: "198.51.100.7:443",
		Container: "net00", Kind: "masquerade", Rule: "bridge",
	}
	echo := api.Flow{
		Family: "ipv6", Protocol: "icmp6", State: "UNREPLIED", Left: 60, Source: "fd00::2", Destination: "fd00::ff", ID: 9,
		TranslatedSource: "fd00::2", TranslatedDestination: "fd00::3", TranslatedID: 11, Container: "rr0", Peer: "net01", Kind: "alias", Rule: "rr",
	}
	rows := []flowRow{flowRowOf(tcp), flowRowOf(echo)}
	for format, want := range map[string][]string{
		"": {
			"PROT STATE AGE IDLE LEFT ORIGINAL TRANSLATED CONTAINER RULE",
			"tcp ESTABLISHED 1m15s 15s 2h3m45s 172.17.0.2:40000 > 198.51.100.7:443 192.0.2.1:61000 > 198.51.100.7:443 net00 masquerade bridge",
			"icmp6 UNREPLIED 0s 0s 1m0s fd00::2 > fd00::ff id 9 fd00::2 > fd00::3 id 11 rr0 alias rr",
		},
		`table {{.Source}}\t{{.Peer}}`: {"SOURCE PEER", "172.17.0.2:40000", "fd00::2 net01"},
		"{{.State}} {{.Left}}":         {"ESTABLISHED 7425", "UNREPLIED 60"},
	} {
		var b bytes.Buffer
		if err := cliformat.List(&b, format, flowColumns, rows); err != nil {
			t.Fatalf("%q: %v", format, err)
		}
		var got []string
		for line := range strings.Lines(b.String()) {
			got = append(got, strings.Join(strings.Fields(line), " "))
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%q:\ngot  %q\nwant %q", format, got, want)
		}
	}
}

func TestConntrackWithoutDaemon(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		"conntrack ls":                      "`sluice daemon`",
		"conntrack list --count":            "`sluice daemon`",
		"conntrack ls extra":                "extra",
		"conntrack flush":                   "--all",
		"conntrack flush --all --proto tcp": "exclude",
		"conntrack flush --all":             "`sluice daemon`",
		"conntrack nonsense":                "nonsense",
	} {
		code, stdout, stderr := runCLI(t, strings.Fields(line)...)
		if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit code %d; printed %q, said %q", line, code, stdout, stderr)
		}
	}
}
