package maps

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
)

// FlowConstants returns the programs' constants that depend on the tenured tables, by
// name: what keys are hashed with, which is chosen once and kept with the tables, and
// the masks of the sets' indexes.
func FlowConstants(byName map[string]*ebpf.Map) (map[string]any, error) {
	seed, err := flowSeed(byName["flow_seeds"])
	if err != nil {
		return nil, fmt.Errorf("choose the seed of the conntrack tables: %w", err)
	}
	constants := map[string]any{"flow_seed": seed.Words}
	for _, family := range []string{"4", "6"} {
		sets := byName["flow_tags"+family].MaxEntries()
		if sets&(sets-1) != 0 {
			return nil, fmt.Errorf("flow_tags%s has %d sets, which is no power of two", family, sets)
		}
		constants["flow_sets_mask"+family] = sets - 1
	}
	return constants, nil
}

// flowSeed returns what there is in flow_seeds, and puts something there before that.
func flowSeed(seeds *ebpf.Map) (seed datapath.FlowSeed, err error) {
	const slot = uint32(0)
	if err := seeds.Lookup(slot, &seed); err != nil || seed != (datapath.FlowSeed{}) {
		return seed, err
	}
	var random [len(seed.Words) * 4]byte
	_, _ = rand.Read(random[:]) // never fails
	if _, err := binary.Decode(random[:], binary.NativeEndian, &seed.Words); err != nil {
		return seed, err
	}
	return seed, seeds.Put(slot, seed)
}
