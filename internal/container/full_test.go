package container

import (
	"context"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/api"
)

// TestEndOnAFullDisk lets a command end when nothing can be written: it has ended
// all the same, verbs say what is wrong, and when there is room again, they work
// and leave nothing.
func TestEndOnAFullDisk(t *testing.T) {
	t.Parallel()
	s := newStarting(t, "cat")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.Create(api.CreateContainer{Name: "waits"}); err != nil {
		t.Fatal(err)
	}
	before := s.left()
	start := func() {
		t.Helper()
		if _, err := s.Start(ctx, "waits", false); err != nil {
			t.Fatal(err)
		}
	}
	full := func(on bool) {
		s.store.full.Store(on)
		s.engine.keeps.Store(on)
	}
	end := func() {
		t.Helper()
		full(true)
		if err := s.Kill(ctx, "waits", sigkill); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Get("waits"); err != nil || r.State != Exited || r.ExitCode != exitUnknown || r.Pid != 0 {
			t.Errorf("after its end: %+v, %v", r, err)
		}
	}

	start()
	end()
	if err := s.Remove(ctx, "waits", true); err == nil || ctx.Err() != nil {
		t.Errorf("Remove with a full disk: %v", err)
	}
	full(false)
	start()
	end()
	full(false)
	if err := s.Remove(ctx, "waits", true); err != nil {
		t.Errorf("Remove with room again: %v", err)
	}
	s.closeOnce()
	if got := s.left(); got != before {
		t.Errorf("left %s, was %s", got, before)
	}
	if _, err := s.Create(api.CreateContainer{Name: "waits"}); err != nil {
		t.Error(err)
	}
}
