package container

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/api"
)

// TestShimDirectoryRemoved covers what cleans up below /run: a command whose shim
// has no directory any more is ended like any other, and a process that has its
// number by now is not.
func TestShimDirectoryRemoved(t *testing.T) {
	t.Parallel()
	s := newStarting(t, "cat")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.Create(api.CreateContainer{Name: "waits"}); err != nil {
		t.Fatal(err)
	}
	for what, end := range map[string]func() error{
		"stop": func() error { return s.Stop(ctx, "waits", 10*time.Millisecond) },
		"kill": func() error { return s.Kill(ctx, "waits", sigkill) },
	} {
		if _, err := s.Start(ctx, "waits", false); err != nil {
			t.Fatal(err)
		}
		r, err := s.Get("waits")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(s.Dirs.Shim(r.ID)); err != nil {
			t.Fatal(err)
		}
		another := r
		another.Pid = os.Getpid()
		if err := s.signalHidden(another, sigkill); err != nil {
			t.Error(err)
		}
		if err := end(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := syscall.Kill(r.Pid, 0); err != syscall.ESRCH {
			t.Errorf("%s: the command is still there: %v", what, err)
		}
	}
}
