package datapath_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"

	stdmaps "maps"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
)

// compareFrames says where what became of a frame is not what had to.
func compareFrames(sent model.Frame, got result, want model.Outcome) error {
	code := map[datapath.Verdict]uint32{datapath.VerdictPass: next, datapath.VerdictRedirect: redirect, datapath.VerdictDrop: shot}[want.Verdict]
	if want.Told {
		code = redirect
	}
	if got.code != code {
		return fmt.Errorf("returned %d, want %d (%s %s)", int32(got.code), int32(code), want.Verdict, want.Reason)
	}
	if code == shot {
		return nil
	}
	if code == redirect && got.left.Mark|uint32(got.left.Tstamp) != 0 {
		return fmt.Errorf("redirected with mark %#x, time stamp %d", got.left.Mark, got.left.Tstamp)
	}
	sums, err := compareSums(sent, got.raw, want.Fresh)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, hexdump(sent.Raw, got.raw, want.Raw))
	}
	if !bytes.Equal(without(got.raw, sums), without(want.Raw, sums)) {
		return fmt.Errorf("another frame left:\n%s", hexdump(sent.Raw, got.raw, want.Raw))
	}
	return nil
}

// hexdump shows frames up to where they are all payload; those that are wanted
// have the checksums of the one that was sent.
func hexdump(sent, got, want []byte) string {
	show := func(raw []byte) []byte { return raw[:min(len(raw), 160)] }
	return fmt.Sprintf("sent %x\ngot  %x\nwant %x", show(sent), show(got), show(want))
}

// compareSums returns where a frame that leaves has checksums of its own. Those
// that are made anew must be right; of the others those that were right must be
// right, and those that were wrong as wrong as before.
func compareSums(sent model.Frame, got []byte, fresh []int) ([]int, error) {
	sums := model.Sums(got, sent.GSO)
	if len(fresh) > 0 {
		for _, at := range fresh {
			if sums[at] != 0xffff {
				return nil, fmt.Errorf("the checksum at byte %d is wrong", at)
			}
		}
		return fresh, nil
	}
	if before := model.Sums(sent.Raw, sent.GSO); !stdmaps.Equal(sums, before) {
		return nil, fmt.Errorf("checksums, by offset: sums %x, before %x", sums, before)
	}
	return slices.Collect(stdmaps.Keys(sums)), nil
}

// without blanks the checksums at some offsets.
func without(raw []byte, checksums []int) []byte {
	raw = slices.Clone(raw)
	for _, at := range checksums {
		if at+2 <= len(raw) {
			raw[at], raw[at+1] = 0, 0
		}
	}
	return raw
}

// compareTables says where counters and flows are not the model's.
func (w *world) compareTables() error {
	packets := map[count]uint64{}
	for c, n := range w.m.Packets {
		packets[count{c.Hook, c.Verdict}] = n
	}
	sums, err := w.maps.AllRuleCounters(worldIndices)
	if err != nil {
		return err
	}
	var failures []error
	for index, sum := range sums {
		failures = append(failures, differ(fmt.Sprintf("counters of rule %d", index), sum, w.m.Rules[uint32(index)]))
	}
	return errors.Join(append(failures,
		differMaps("packets of", w.packets(), packets),
		differMaps("drops for", w.drops(), w.m.Drops),
		differMaps("flow", w.halves(), w.m.Halves()),
	)...)
}

func differ(what string, got, want any) error {
	if reflect.DeepEqual(got, want) {
		return nil
	}
	return fmt.Errorf("%s:\ngot  %+v\nwant %+v", what, got, want)
}

func differMaps[K comparable, V any](what string, got, want map[K]V) error {
	var failures []error
	for key, value := range want {
		if have, ok := got[key]; !ok {
			failures = append(failures, fmt.Errorf("%s %+v is missing: want %+v", what, key, value))
		} else {
			failures = append(failures, differ(fmt.Sprintf("%s %+v", what, key), have, value))
		}
	}
	for key, value := range got {
		if _, ok := want[key]; !ok {
			failures = append(failures, fmt.Errorf("%s %+v is one too many: %+v", what, key, value))
		}
	}
	return errors.Join(failures...)
}
