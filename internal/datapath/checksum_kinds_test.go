package datapath_test

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/loader"
)

// testChecksumComplete is BPF_F_TEST_SKB_CHECKSUM_COMPLETE of Linux 6.16: the
// packet has its sum beside it, which must be right afterwards, or EBADMSG.
const testChecksumComplete = 1 << 2

// TestSumBesideThePacket covers packets of devices that sum them up, and what a
// kernel gets that does not let programs look for that.
func TestSumBesideThePacket(t *testing.T) {
	t.Parallel()
	for name, without := range map[string]loader.Features{"as it is": {}, "by helpers": {KernelContext: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, ipv4, loader.Config{Without: without})
			for what, sent := range map[string]frame{
				"tcp":  f.a.tcp(40000, remoteAddrPort(443), syn),
				"udp":  f.a.udp(40000, remoteAddrPort(53)),
				"echo": f.a.echo(7, remoteAddr),
			} {
				c := f.converse(sent)
				for _, way := range []struct {
					hook    datapath.Hook
					ifindex int
					frame   frame
				}{
					{datapath.HookContainer, f.a.ifindex, c.sent},
					{datapath.HookUplink, f.uplink, c.answer},
				} {
					raw := way.frame.bytes()
					out := make([]byte, len(raw))
					verdict, err := f.loader.Program(way.hook).Run(&ebpf.RunOptions{
						Data: raw, DataOut: out, Context: skb{Ifindex: uint32(way.ifindex)}, Flags: testChecksumComplete,
					})
					if errors.Is(err, unix.EINVAL) {
						t.Skip("this kernel runs no packets with a sum beside them")
					}
					if err != nil || verdict != redirect {
						t.Errorf("%s, %s: verdict %d, %v", what, way.hook, int32(verdict), err)
					}
					if err := verifyChecksums(out); err != nil {
						t.Errorf("%s, %s: %v", what, way.hook, err)
					}
				}
			}
		})
	}
}

// TestChecksumsByHelpers covers packets without such a sum on such a kernel.
func TestChecksumsByHelpers(t *testing.T) {
	withFixtures(t, loader.Config{Without: loader.Features{KernelContext: true}}, func(t *testing.T, f *fixture) {
		for what, sent := range map[string]frame{
			"tcp":              f.client.tcp(40000, at(f.host, published), syn),
			"udp":              f.client.udp(40000, at(f.host, published)),
			"udp, no checksum": withoutChecksum(f.client.udp(40001, at(f.host, published))),
		} {
			verdict, out := f.fromOutside(sent)
			f.expect(what, verdict, out, redirect, sent.hop().to(f.a.at(target)).delivered(f.a))
		}
	})
}
