package bench

import (
	"net/netip"
	"os/exec"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/netdev/netdevtest"
)

// TestProveWhileOthersFork: lanes use each other's ports in turn, whatever
// starts meanwhile.
func TestProveWhileOthersFork(t *testing.T) {
	namespace := netdevtest.NewNamespace(t)
	if err := netdev.InNamespace(namespace, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	}); err != nil {
		t.Fatal(err)
	}
	local := netip.MustParseAddr("127.0.0.1")
	l := lane{
		from: nic{namespace: namespace}, to: nic{namespace: namespace}, seen: local, served: 1000, replyAddr: local,
		flow: func(int) (src, dst netip.AddrPort) {
			return netip.AddrPortFrom(local, 2000), netip.AddrPortFrom(local, 1000)
		},
	}
	done := make(chan struct{})
	var others sync.WaitGroup
	for range 2 {
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					if err := exec.Command("true").Run(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 200 {
		if err := l.prove(); err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	others.Wait()
}
