package container

import (
	"context"
	"testing"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
)

// TestRemoveRunning removes a container that runs while somebody waits for its
// exit code. Its record goes without a note of its end; when it cannot go, there
// is one.
func TestRemoveRunning(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]bool{"removed": false, "refused": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStarting(t, "cat")
			if _, err := s.Create(api.CreateContainer{Name: "waits"}); err != nil {
				t.Fatal(err)
			}
			before := s.left()
			if _, err := s.Start(context.Background(), "waits", false); err != nil {
				t.Fatal(err)
			}
			code := make(chan int)
			waits := make(chan struct{})
			go func() {
				c, _ := s.find("waits")
				done := s.doneOf(c)
				close(waits)
				<-done
				code <- s.snapshot(c).ExitCode
			}()
			<-waits
			s.store.refuse.Store(refuse)
			if err := s.Remove(context.Background(), "waits", true); (err != nil) != refuse {
				t.Errorf("Remove: %v", err)
			}
			if got := <-code; got != exitUnknown {
				t.Errorf("the exit code was %d", got)
			}
			r, err := s.Get("waits")
			switch {
			case !refuse && apierr.StatusOf(err) != 404:
				t.Errorf("the record: %+v, %v", r, err)
			case refuse && (err != nil || r.State != Exited || r.ExitCode != exitUnknown):
				t.Errorf("the record: %+v, %v", r, err)
			}
			s.store.refuse.Store(false)
			if err := s.Remove(context.Background(), "waits", false); (err != nil) != !refuse {
				t.Errorf("Remove again: %v", err)
			}
			s.closeOnce() // waits for the shim's directory to go
			if got := s.left(); got != before {
				t.Errorf("left %s, was %s", got, before)
			}
		})
	}
}
