package bench

import (
	"net/netip"
	"testing"
)

// TestFlowsDiffer: what a conntrack takes for one flow is one of a lane's, for
// masquerade also when the source address is replaced by the host's.
func TestFlowsDiffer(t *testing.T) {
	s := &site{world: &world{}}
	for _, f := range []*family{&ipv4, &ipv6} {
		s.container.addrs = append(s.container.addrs, f.container(0).Addr())
		s.vips = append(s.vips, f.vip)
	}
	const flows = 100_000
	for _, p := range paths {
		for _, f := range []*family{&ipv4, &ipv6} {
			seen := map[[2]netip.AddrPort]bool{}
			l := p.lane(s, f)
			for i := range flows {
				src, dst := l.flow(i)
				if !src.IsValid() || !dst.IsValid() || src.Addr().BitLen() != f.bits || dst.Addr().BitLen() != f.bits {
					t.Fatalf("%s by %s: flow %d is from %s to %s", p.name, f.name, i, src, dst)
				}
				if p.name == pathPublished && !f.outside.Contains(src.Addr()) || p.name == pathMasquerade && !f.outside.Contains(dst.Addr()) {
					t.Fatalf("%s by %s: flow %d leads from %s to %s, and no route", p.name, f.name, i, src, dst)
				}
				seen[[2]netip.AddrPort{src, dst}] = true
			}
			if len(seen) != flows {
				t.Errorf("%s by %s: %d of %d flows differ", p.name, f.name, len(seen), flows)
			}
		}
	}
}

// TestMessagesAreOfEachFlow: frames are sent equally often, and at least a batch
// of them.
func TestMessagesAreOfEachFlow(t *testing.T) {
	for _, flows := range []int{1, 3, batch, batch + 1} {
		frames := make([][]byte, flows)
		for i := range frames {
			frames[i] = []byte{byte(i)}
		}
		messages := messagesOf(frames)
		if len(messages) < batch || len(messages)%flows != 0 {
			t.Errorf("%d flows: %d messages", flows, len(messages))
		}
		for i, m := range messages {
			if m.header.Iov.Base != &frames[i%flows][0] {
				t.Fatalf("%d flows: message %d is of another", flows, i)
			}
		}
	}
}

func TestWants(t *testing.T) {
	e := Env{Only: map[string]string{"family": "ipv6", "quantile": "p99"}}
	for value, want := range map[string]bool{"ipv4": false, "ipv6": true} {
		if got := e.wants(map[string]string{"family": value, "path": pathVIP}); got != want {
			t.Errorf("%s: %v", value, got)
		}
	}
	if !e.wants(map[string]string{"ports": "1"}) {
		t.Error("a scenario without the parameter is left out")
	}
}
