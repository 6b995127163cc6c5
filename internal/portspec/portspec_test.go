package portspec

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	t.Parallel()
	every, loopback := netip.Addr{}, netip.MustParseAddr("127.0.0.1")
	const tcp, udp = unix.IPPROTO_TCP, unix.IPPROTO_UDP
	for text, want := range map[string]Spec{
		"8080:80":                   {tcp, every, 8080, 8080, 80, 80},
		"8080:80/tcp":               {tcp, every, 8080, 8080, 80, 80},
		"53:53/UDP":                 {udp, every, 53, 53, 53, 53},
		"0.0.0.0:8080:80":           {tcp, netip.IPv4Unspecified(), 8080, 8080, 80, 80},
		"127.0.0.1:8080:80":         {tcp, loopback, 8080, 8080, 80, 80},
		"8000-8010:9000-9010":       {tcp, every, 8000, 8010, 9000, 9010},
		"8000-8010:80":              {tcp, every, 8000, 8010, 80, 80},
		"80":                        {tcp, every, 0, 0, 80, 80},
		"80-82/udp":                 {udp, every, 0, 0, 80, 82},
		"127.0.0.1::80":             {tcp, loopback, 0, 0, 80, 80},
		":80":                       {tcp, every, 0, 0, 80, 80},
		"::80/udp":                  {udp, every, 0, 0, 80, 80},
		"0:80":                      {tcp, every, 0, 0, 80, 80},
		"8097:80/":                  {tcp, every, 8097, 8097, 80, 80},
		"1-65535:1-65535":           {tcp, every, 1, 65535, 1, 65535},
		"[::]:8080:80":              {tcp, netip.IPv6Unspecified(), 8080, 8080, 80, 80},
		":::8080:80":                {tcp, netip.IPv6Unspecified(), 8080, 8080, 80, 80},
		"[fd00::1]::80/udp":         {udp, netip.MustParseAddr("fd00::1"), 0, 0, 80, 80},
		"::1:8080:80":               {tcp, netip.MustParseAddr("::1"), 8080, 8080, 80, 80},
		"[::ffff:127.0.0.1]:1:80":   {tcp, loopback, 1, 1, 80, 80},
		"127.0.0.1:8000-8001:80-81": {tcp, loopback, 8000, 8001, 80, 81},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                        "container port is missing",
		"8080:":                   "container port is missing",
		"0-1:80":                  `host port "0"`,
		"8080:0":                  `container port "0"`,
		"65536:80":                `host port "65536"`,
		"8080:http":               `container port "http"`,
		"-1:80":                   "host port is missing",
		"8010-8000:80":            "ends before it begins",
		"8000-8010:80-81":         "differ in length",
		"8080:80-81":              "differ in length",
		"8080:80/icmp":            `unknown protocol "icmp"`,
		"8080:80/sctp":            "sctp is not supported",
		"[fe80::1]:8080:80":       "link-local address fe80::1",
		"[fd00::1%eth0]:8080:80":  "not an IP address",
		"[127.0.0.1]:8080:80":     "not an IP address",
		"[::1:8080:80":            "not an IP address",
		"[::1]8080:80":            "not an IP address",
		"localhost:8080:80":       "not an IP address",
		"10.0.0:8080:80":          "not an IP address",
		"8080:80,from=10.0.0.0/8": `option "from=10.0.0.0/8" is not supported yet`,
		"8080:80,limit=10/s":      `option "limit=10/s" is not supported yet`,
	} {
		if got, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %+v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"8080:80", "127.0.0.1::80/udp", "1-2:3-4", "80", "[::]:1:2", "8080:80,from=::/0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := Parse(text)
		if err != nil {
			if strings.ContainsRune(err.Error(), '\n') {
				t.Errorf("the error for %q has more than one line: %v", text, err)
			}
			return
		}
		again, err := Parse(spec.String())
		if err != nil || again != spec {
			t.Errorf("%q: %+v is written as %q, which reads as %+v, %v", text, spec, spec, again, err)
		}
	})
}
