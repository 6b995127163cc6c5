package datapath_test

import (
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
)

// snapshot is what packets change of a world.
type snapshot struct {
	at        uint32 // seconds
	m         *model.Model
	flows     map[datapath.FlowKey4]datapath.Flow4
	fragments map[datapath.FragmentKey4]datapath.Fragment
	turns     datapath.Turns
}

// contents are the entries of a hash map.
func contents[K comparable, V any](w *world, table string) map[K]V {
	w.t.Helper()
	all := map[K]V{}
	var key K
	var value V
	entries := w.loader.Maps()[table].Iterate()
	for entries.Next(&key, &value) {
		all[key] = value
	}
	must(w.t, entries.Err())
	return all
}

func (w *world) snapshot() snapshot {
	s := snapshot{
		at: w.settle(), m: w.m.Clone(), flows: w.flows(),
		fragments: contents[datapath.FragmentKey4, datapath.Fragment](w, "fragments4"),
	}
	must(w.t, w.loader.Maps()["alias_turns"].Lookup(uint32(aliasIndex), &s.turns))
	return s
}

// restore brings a snapshot back as if it had been made now. Counters go on.
func (w *world) restore(s snapshot) {
	w.t.Helper()
	later := w.settle() - s.at
	m := s.m.Clone()
	m.Packets, m.Drops, m.Rules = w.m.Packets, w.m.Drops, w.m.Rules
	m.Age(-later)
	w.m = m
	for key := range w.flows() {
		w.evict(modelKey(key))
	}
	for key, flow := range s.flows {
		flow.Head.Created += later
		flow.Head.Seen += later
		w.write("nursery4", key, flow)
	}
	for key, value := range s.fragments {
		value.Seen += later
		w.write("fragments4", key, value)
	}
	for key := range contents[datapath.FragmentKey4, datapath.Fragment](w, "fragments4") {
		if _, ok := s.fragments[key]; !ok {
			must(w.t, w.loader.Maps()["fragments4"].Delete(key))
		}
	}
	w.write("alias_turns", uint32(aliasIndex), s.turns)
	for index := range uint32(worldIndices) {
		w.write("answer_limits", index, uint64(0))
	}
}

// resident returns what runs functions for tests, one after the other, in the
// world's namespace: a thread of its own for each would cost more than they do.
func (w *world) resident(t testing.TB) func(t testing.TB, f func() error) error {
	work, done := make(chan func() error), make(chan error)
	go func() {
		w.enter(t)
		done <- nil
		for f := range work {
			done <- f()
		}
	}()
	<-done
	t.Cleanup(func() { close(work) })
	return func(t testing.TB, f func() error) error {
		w.t = t
		work <- f
		return <-done
	}
}
