package engine

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// TestNetworkBeforeItsProgram: a network whose program could not be attached is
// there, and has no endpoint before it could.
func TestNetworkBeforeItsProgram(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.datapath.refuse(true)
	n := f.createNetwork(NetworkRequest{Name: "custom"})
	req := f.request("custom")
	before := f.snapshot()
	for range 2 {
		if _, err := f.CreateEndpoint(context.Background(), req); !errors.Is(err, errInjected) {
			t.Errorf("an endpoint without the network's program: %v", err)
		}
		f.wantUnchanged(before)
	}
	f.datapath.refuse(false)
	f.datapath.takeCalls()
	if _, err := f.CreateEndpoint(context.Background(), req); err != nil {
		t.Fatal(err)
	}
	calls := f.datapath.takeCalls()
	attached, ready := slices.Index(calls, "attach bridge "+n.Bridge), slices.Index(calls, "SetEndpoint 1 ready=true translated=false")
	if attached < 0 || ready < attached {
		t.Errorf("calls: %q", calls)
	}
	f.createEndpoint("custom")
	if calls := f.datapath.takeCalls(); slices.Contains(calls, "attach bridge "+n.Bridge) {
		t.Errorf("attached again: %q", calls)
	}
}

// TestKilledBeforeTheProgram: who was told of a network has it after a kill.
func TestKilledBeforeTheProgram(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.datapath.refuse(true)
	n := f.createNetwork(NetworkRequest{Name: "custom"})
	f.Settle()
	f.datapath.refuse(false)
	f.restart()
	must(t, f.Reconcile(context.Background()))
	if _, err := f.Network("custom"); err != nil {
		t.Fatal(err)
	}
	if f.datapath.attached["bridge "+n.Bridge] == 0 {
		t.Error("the program is not attached")
	}
}
