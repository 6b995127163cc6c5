package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
)

var errInjected = errors.New("injected")

// failures returns variants of a plan, each of which fails at one step: before
// it does anything, and after it has done it.
func failures(makePlan func() plan) map[string]func() plan {
	variants := map[string]func() plan{}
	for i, s := range makePlan() {
		variants[fmt.Sprintf("%d before %s", i, s.name)] = func() plan {
			p := makePlan()
			p[i].do = func() error { return errInjected }
			return p
		}
		variants[fmt.Sprintf("%d after %s", i, s.name)] = func() plan {
			p := makePlan()
			do := p[i].do
			p[i].do = func() error { return errors.Join(do(), errInjected) }
			return p
		}
	}
	return variants
}

// wantUnwound applies every variant of a plan and checks that nothing is left.
func (f *fixture) wantUnwound(makePlan func() plan) {
	f.t.Helper()
	before := f.snapshot()
	for name, variant := range failures(makePlan) {
		if err := variant().apply(context.Background(), f.log); !errors.Is(err, errInjected) {
			f.t.Errorf("%s: %v", name, err)
		}
		if after := f.snapshot(); after != before {
			f.t.Errorf("%s: something is left:\n%s\nwas:\n%s", name, after, before)
		}
	}
}

func TestEveryStepOfCreateNetworkUnwinds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.wantUnwound(func() plan {
		n, err := f.intendNetwork(NetworkRequest{Name: "custom"})
		must(t, err)
		n.Bridge = "br-test"
		return f.networkPlan(n)
	})
}

func TestEveryStepOfCreateEndpointUnwinds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	req := f.request("bridge", tcp(8080, 8080, 80), tcp(8443, 8443, 443))
	f.wantUnwound(func() plan {
		n, ep, err := f.intendEndpoint(req)
		must(t, err)
		return f.endpointPlan(n, &ep)
	})
}

func TestEveryStepOfPublishUnwinds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	without := f.createEndpoint("bridge", tcp(8080, 8080, 80))
	n, err := f.Network(without.NetworkID)
	must(t, err)
	f.wantUnwound(func() plan {
		ports, err := f.resolvePorts(n, []PublishedPort{tcp(8443, 8443, 443), tcp(9000, 9009, 90)})
		must(t, err)
		with := without
		with.Ports = slices.Concat(without.Ports, ports)
		return f.publishPlan(n, without, with, ports)
	})
}

func TestPlanStopsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	var trace []string
	mark := func(what string, then func()) func() error {
		return func() error {
			trace = append(trace, what)
			then()
			return nil
		}
	}
	p := plan{
		{name: "a", do: mark("do a", func() {}), undo: mark("undo a", func() {})},
		{name: "b", do: mark("do b", cancel), undo: mark("undo b", func() {})},
		{name: "c", do: mark("do c", func() {})},
	}
	if err := p.apply(ctx, slog.New(slog.DiscardHandler)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if want := []string{"do a", "do b", "undo b", "undo a"}; !slices.Equal(trace, want) {
		t.Errorf("trace %q", trace)
	}
}

func TestUnwindCollectsErrors(t *testing.T) {
	t.Parallel()
	other := errors.New("other")
	p := plan{
		{name: "record", undo: func() error { t.Error("the record went"); return nil }},
		{name: "a", undo: func() error { return errInjected }},
		{name: "b", undo: func() error { return other }},
	}
	if err := p.teardown(); !errors.Is(err, errInjected) || !errors.Is(err, other) {
		t.Error(err)
	}
}

func TestIndexes(t *testing.T) {
	t.Parallel()
	x := newIndexes("things", 128)
	got, err := x.free(3)
	if err != nil || !slices.Equal(got, []uint32{1, 2, 3}) {
		t.Errorf("free: %v, %v", got, err)
	}
	for n := uint32(1); n < 128; n++ {
		x.take(n)
	}
	_, err = x.free(1)
	wantError(t, err, 409, "there are too many things: the limit is 127")
	x.release(65)
	if got, err := x.free(1); err != nil || got[0] != 65 {
		t.Errorf("free: %v, %v", got, err)
	}
	if err := x.takeStored(128); err == nil {
		t.Error("a number beyond the capacity is taken")
	}
}
