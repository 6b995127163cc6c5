package maps_test

import (
	"net/netip"
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"golang.org/x/sys/unix"
)

func TestAsked(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	got := netip.MustParseAddrPort("172.17.0.2:80")
	for cookie, asked := range map[uint64]string{7: "127.0.0.1:8080", 8: "[::1]:8080", 9: "192.0.2.1:65535"} {
		want := netip.MustParseAddrPort(asked)
		key := datapath.SocketKey{Cookie: cookie, Addr: got.Addr().As16(), Port: port(80), Protocol: unix.IPPROTO_TCP}
		must(t, k.byName["socket_origins"].Put(&key, &datapath.SocketOrigin{Addr: want.Addr().As16(), Port: port(want.Port())}))
		if found, ok := k.Asked(unix.IPPROTO_TCP, cookie, got); !ok || found != want {
			t.Errorf("cookie %d asked for %v, %v, want %s", cookie, found, ok, want)
		}
	}
	for _, other := range []struct {
		protocol uint8
		cookie   uint64
		got      string
	}{{unix.IPPROTO_UDP, 7, "172.17.0.2:80"}, {unix.IPPROTO_TCP, 6, "172.17.0.2:80"}, {unix.IPPROTO_TCP, 7, "172.17.0.2:81"}} {
		if asked, ok := k.Asked(other.protocol, other.cookie, netip.MustParseAddrPort(other.got)); ok {
			t.Errorf("%+v asked for %s", other, asked)
		}
	}
}

// port is one in network byte order.
func port(n uint16) uint16 { return n<<8 | n>>8 }
