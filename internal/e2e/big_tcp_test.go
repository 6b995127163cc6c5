package e2e

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/lab"
)

// setGSO lets a device take packets of so many bytes, which it cuts.
func setGSO(n *lab.Namespace, device string, most int) {
	n.Must(func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetGSOMaxSize(link, most), netlink.LinkSetGSOIPv4MaxSize(link, most))
	})
}

// TestBigTCP covers senders whose devices take packets that are longer than
// their headers can say (BIG TCP), in both directions.
func TestBigTCP(t *testing.T) {
	t.Parallel()
	l := newDualLab(t)
	runServer(l, "web", "exchange-serve", ":80", "--net=dual", "-p", "8080:80")
	l.Client.Background(selfPath, "exchange-serve", ":7000")
	setGSO(l.Client, "eth0", 180_000)
	setGSO(lab.NamespaceAt(t, sandboxOf(l, "web")), "eth0", 180_000)
	for _, addr := range []string{lab.HostAddr + ":8080", "[" + lab.HostAddr6 + "]:8080"} {
		persist(l.Client, "tcp-peer", addr)
		if r := ask(l.Client, "stream", addr, "20000000", "1"); r.Code != 0 {
			t.Errorf("%s, published: %s", addr, r.Stderr)
		}
	}
	for _, addr := range []string{lab.ClientAddr + ":7000", "[" + lab.ClientAddr6 + "]:7000"} {
		if r := l.Sluice("exec", "web", selfPath, "stream", addr, "20000000", "1"); r.Code != 0 {
			t.Errorf("%s, masqueraded: %s", addr, r.Stderr)
		}
	}
	if n := systemInfo(l).Drops["mtu-exceeded"]; n != 0 {
		t.Errorf("%d packets were too big", n)
	}
}
