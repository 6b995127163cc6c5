package engine

import (
	"context"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestFilterThenLink: an endpoint has a filter when it is made and a link a moment
// later, and is final from the one to the other.
func TestFilterThenLink(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ep := f.createEndpoint("bridge")
	if !f.datapath.endpoints[ep.Index].Final || f.datapath.attached["filter "+ep.HostDevice] == 0 {
		t.Errorf("new: %+v, attached %v", f.datapath.endpoints[ep.Index], f.datapath.attached)
	}
	f.datapath.takeCalls()
	f.Settle()
	f.wantLinked(ep)
	want := []string{"attach container " + ep.HostDevice, "SetEndpoint 1 ready=true translated=false"}
	if got := f.datapath.takeCalls(); !slices.Equal(got, want) {
		t.Errorf("calls: %q, want %q", got, want)
	}
	f.Settle()
	if got := f.datapath.takeCalls(); len(got) > 0 {
		t.Errorf("linked again: %q", got)
	}
}

// TestFilterGoesOn: an endpoint that cannot have a link keeps its filter, stays
// final while ports are published, and has the link by the next repair.
func TestFilterGoesOn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ep := f.createEndpoint("bridge")
	f.datapath.refuse(true)
	f.Settle()
	f.datapath.refuse(false)
	if _, err := f.Publish(context.Background(), ep.ID, []PublishedPort{tcp(8080, 8080, 80)}); err != nil {
		t.Fatal(err)
	}
	if got := f.datapath.endpoints[ep.Index]; !got.Final || !got.Translated || f.datapath.attached["filter "+ep.HostDevice] == 0 {
		t.Errorf("%+v, attached %v", got, f.datapath.attached)
	}
	must(t, f.Repair(context.Background()))
	f.wantLinked(ep)
}

// TestFilterKeepsNobodyBack: an endpoint that cannot have a link does not keep
// others from theirs, in whichever order they come.
func TestFilterKeepsNobodyBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var eps []Endpoint
	for range 8 {
		eps = append(eps, f.createEndpoint("bridge"))
	}
	for _, ep := range eps[:4] {
		link, err := netlink.LinkByName(ep.HostDevice)
		must(t, err)
		must(t, netlink.LinkDel(link))
	}
	f.linkFiltered()
	for _, ep := range eps[4:] {
		f.wantLinked(ep)
	}
	f.Settle()
}

// TestKilledBeforeTheLink: the next daemon gives what has a filter its link.
func TestKilledBeforeTheLink(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ep := f.createEndpoint("bridge")
	f.restart()
	f.datapath.takeCalls()
	must(t, f.Reconcile(context.Background()))
	f.wantLinked(ep)
	calls := f.datapath.takeCalls()
	if linked := slices.Index(calls, "attach container "+ep.HostDevice); linked < 0 {
		t.Errorf("calls: %q", calls)
	}
}

// TestRemovedBeforeTheLink: nothing is attached to what is gone.
func TestRemovedBeforeTheLink(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before := f.snapshot()
	ep := f.createEndpoint("bridge")
	must(t, f.DeleteEndpoint(context.Background(), ep.ID))
	f.datapath.takeCalls()
	f.Settle()
	if calls := f.datapath.takeCalls(); slices.Contains(calls, "attach container "+ep.HostDevice) {
		t.Errorf("calls: %q", calls)
	}
	f.wantUnchanged(before)
}

func (f *fixture) wantLinked(ep Endpoint) {
	f.t.Helper()
	if f.datapath.endpoints[ep.Index].Final || f.datapath.attached["container "+ep.HostDevice] == 0 || f.datapath.attached["filter "+ep.HostDevice] != 0 {
		f.t.Errorf("%+v, attached %v", f.datapath.endpoints[ep.Index], f.datapath.attached)
	}
}
