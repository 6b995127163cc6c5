package datapath_test

import (
	"testing"

	"github.com/sluice-net/sluice/loader"
)

// TestChecksumsByHelpers covers kernels that do not let programs look for a sum
// beside the packet, and those whose helpers do not know of IPv6 besides. The
// harness verifies the checksums and, where the kernel lets it, that sum.
func TestChecksumsByHelpers(t *testing.T) {
	for name, without := range map[string]loader.Features{
		"all":          {KernelContext: true},
		"but for IPv6": {KernelContext: true, CsumIPv6: true},
	} {
		t.Run(name, func(t *testing.T) {
			withFixtures(t, loader.Config{Without: without}, func(t *testing.T, f *fixture) {
				for what, sent := range map[string]frame{
					"tcp":              f.client.tcp(40000, at(f.host, published), syn),
					"udp":              f.client.udp(40000, at(f.host, published)),
					"udp, no checksum": withoutChecksum(f.client.udp(40001, at(f.host, published))),
				} {
					verdict, out := f.fromOutside(sent)
					f.expect(what, verdict, out, redirect, sent.hop().to(f.a.at(target)).delivered(f.a))
				}
				for _, sent := range []frame{
					f.a.tcp(40000, f.remote.at(443), syn), f.a.udp(40000, f.remote.at(53)), f.a.echo(7, f.remote.addr),
				} {
					c := f.converse(sent)
					c.expectAlive(sent.protocol.String())
				}
				first, _, last := f.a.udp(40001, f.remote.at(53)).fragments()
				for _, part := range []frame{first, last} {
					if verdict, _ := f.fromContainer(f.a, part); verdict != redirect {
						t.Errorf("a fragment: verdict %d", int32(verdict))
					}
				}
			})
		})
	}
}
