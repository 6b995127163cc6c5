package datapath_test

import (
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/datapath/model"
)

// snapshot is what packets change of a world.
type snapshot struct {
	at     uint32 // seconds
	m      *model.Model
	tables []table
	turns  datapath.Turns
	ends   [2]waitingEnds
}

// table is one of flows or fragments, which can be brought back, or aged.
type table interface {
	// restore makes the world's table what it was, seen so many seconds later.
	restore(w *world, later uint32)
}

type savedTable[K comparable, V any] struct {
	name    string
	entries map[K]V
	shift   func(value V, later uint32) V
}

func (s savedTable[K, V]) restore(w *world, later uint32) {
	w.t.Helper()
	for key, value := range s.entries {
		w.write(s.name, key, s.shift(value, later))
	}
	for key := range batch[K, V](w.fixture, s.name) {
		if _, ok := s.entries[key]; !ok {
			must(w.t, w.loader.Maps()[s.name].Delete(key))
		}
	}
}

// tables saves what packets leave for others.
func (w *world) tables() []table {
	w.t.Helper()
	shiftFragment := func(f datapath.Fragment, later uint32) datapath.Fragment { f.Seen += later; return f }
	shiftHead := func(h *datapath.FlowHead, later uint32) { h.Created += later; h.Seen += later }
	all := []table{
		save[datapath.FragmentKey4](w, "fragments4", shiftFragment), save[datapath.FragmentKey6](w, "fragments6", shiftFragment),
	}
	shift4 := func(f datapath.Flow4, later uint32) datapath.Flow4 { shiftHead(&f.Head, later); return f }
	shift6 := func(f datapath.Flow6, later uint32) datapath.Flow6 { shiftHead(&f.Head, later); return f }
	return append(all,
		save[datapath.FlowKey4](w, "nursery4", shift4), save[datapath.FlowKey6](w, "nursery6", shift6),
		savedTenured[datapath.FlowKey4, datapath.Flow4, datapath.FlowEntry4]{tenured4, tenured4(w.fixture).read(), shift4},
		savedTenured[datapath.FlowKey6, datapath.Flow6, datapath.FlowEntry6]{tenured6, tenured6(w.fixture).read(), shift6})
}

// savedTenured is one that is no hash map.
type savedTenured[K comparable, V, E any] struct {
	open    func(*fixture) tenured[K, V, E]
	entries map[K]V
	shift   func(value V, later uint32) V
}

func (s savedTenured[K, V, E]) restore(w *world, later uint32) {
	w.t.Helper()
	table, was := s.open(w.fixture), map[K]V{}
	for key, value := range s.entries {
		was[key] = s.shift(value, later)
	}
	for key := range table.read() {
		if _, ok := was[key]; !ok {
			table.erase(key)
		}
	}
	table.write(was)
}

func save[K comparable, V any](w *world, name string, shift func(V, uint32) V) table {
	w.t.Helper()
	return savedTable[K, V]{name, batch[K, V](w.fixture, name), shift}
}

func (w *world) snapshot() snapshot {
	s := snapshot{at: w.settle(), m: w.m.Clone(), tables: w.tables(), ends: w.waitingEnds()}
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
	for _, table := range s.tables {
		table.restore(w, later)
	}
	w.write("alias_turns", uint32(aliasIndex), s.turns)
	w.setWaitingEnds(s.ends)
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
