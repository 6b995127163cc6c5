package datapath_test

import (
	"bytes"
	"testing"

	"github.com/sluice-net/sluice/loader"
)

// written are the maps that programs write.
var written = []string{"flows4", "flows6", "flow_tags4", "flow_tags6", "nursery4", "nursery6", "fragments4", "fragments6", "snat_cursors", "alias_turns", "socket_origins", "rule_counts", "packet_counts", "drop_counts"}

// dump returns the entries of the maps that programs write, as bytes.
func (f *fixture) dump() map[string][]byte {
	f.t.Helper()
	all := map[string][]byte{}
	for _, name := range written {
		table := f.loader.Maps()[name]
		var key, value []byte
		var values [][]byte
		entries := table.Iterate()
		if name == "rule_counts" || name == "packet_counts" || name == "drop_counts" {
			for entries.Next(&key, &values) {
				all[name] = append(append(all[name], key...), bytes.Join(values, nil)...)
			}
		} else {
			for entries.Next(&key, &value) {
				all[name] = append(append(all[name], key...), value...)
			}
		}
		must(f.t, entries.Err())
	}
	return all
}

// TestDryRunWritesNothing covers programs that decide, and change the packet,
// but write no map. Those that may observe as well do nothing of the kind here,
// and are another test's too.
func TestDryRunWritesNothing(t *testing.T) {
	withFixtures(t, loader.Config{DryRun: true, Observe: true}, func(t *testing.T, f *fixture) {
		f.masqueradedFlow()
		before := f.dump()

		sent := f.a.tcp(40000, f.remote.at(443), syn)
		verdict, out := f.fromContainer(f.a, sent)
		f.expect("masquerade", verdict, out, redirect, sent.hop().from(at(f.host, 61000)))
		sent = f.client.tcp(40000, at(f.host, published), syn)
		verdict, out = f.fromOutside(sent)
		f.expect("published", verdict, out, redirect, sent.hop().to(f.a.at(target)).delivered(f.a))
		sent = f.loopback.udp(50000, f.a.at(target))
		if verdict, _ = f.fromHost(sent); verdict != next {
			t.Errorf("from loopback: verdict %d", int32(verdict))
		}
		if verdict, _ = f.fromOutside(f.client.udp(1, f.a.at(53))); verdict != shot {
			t.Errorf("unpublished: verdict %d", int32(verdict))
		}
		answer := f.remote.tcp(443, at(f.host, 61001), fin|ack)
		verdict, out = f.fromOutside(answer)
		f.expect("of a flow", verdict, out, redirect, answer.hop().to(f.a.at(50000)).delivered(f.a))
		expectEqual(t, "maps", f.dump(), before)

		must(t, f.maps.ClearRule(masqueradeOne))
		before = f.dump()
		verdict, out = f.fromOutside(answer)
		f.expect("of a flow that has ended", verdict, out, next, answer)
		expectEqual(t, "maps", f.dump(), before)
	})
}

// masqueradedFlow writes a flow of a's port 50000 to the table by hand.
func (f *fixture) masqueradedFlow() {
	f.t.Helper()
	sent := f.a.tcp(50000, f.remote.at(443), ack)
	for key, half := range masqueraded(f, sent, sent.from(at(f.host, 61001)), 0) {
		half.Head.Created = uptime(f.t)
		half.Head.Seen = half.Head.Created
		f.writeHalf("nursery", key, half)
	}
}
