package e2e

import (
	"net"
	"testing"

	"github.com/sluice-net/sluice/internal/lab"
)

// family is an address family, with what the lab and its networks have of it:
// what holds for one has to hold for the other.
type family struct {
	name     string
	loopback string
	host     string // the lab's host, and who is beyond its uplink
	client   string
	far      string
	second   string // an address that the host may get on the same wire
	prefix   string // of that wire, as "/24"
	gateway  string // of the default network
	subnet   string // of a network that a test makes, and its gateway
	other    string
	first    string // the first container's address in each
	inOther  string
}

var families = []family{{
	name:     "IPv4",
	loopback: "127.0.0.1",
	host:     lab.HostAddr,
	client:   lab.ClientAddr,
	far:      lab.FarAddr,
	second:   "192.0.2.11",
	prefix:   "/24",
	gateway:  "172.17.0.1",
	first:    "172.17.0.2",
	subnet:   "172.20.0.0/16",
	other:    "172.20.0.1",
	inOther:  "172.20.0.2",
}}

// eachFamily runs a scenario once for each family, side by side.
func eachFamily(t *testing.T, scenario func(t *testing.T, f family)) {
	t.Parallel()
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			scenario(t, f)
		})
	}
}

// port joins an address and a port, given as text.
func port(addr, number string) string { return net.JoinHostPort(addr, number) }
