package container

import (
	"errors"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/engine"
)

// publishedPorts lead to the container's ports 80 and 81, one of them twice.
func publishedPorts() []engine.PublishedPort {
	return []engine.PublishedPort{
		{Protocol: unix.IPPROTO_TCP, First: 8080, Last: 8081, Target: 80, TargetLast: 81},
		{Protocol: unix.IPPROTO_TCP, First: 9090, Last: 9090, Target: 80, TargetLast: 80},
	}
}

// TestSandboxLife goes through a sandbox's life: the first user makes it, others
// join, the last takes it away.
func TestSandboxLife(t *testing.T) {
	t.Parallel()
	var s sandboxes
	made, removed := 0, 0
	build := func() (string, error) { made++; return "ep", nil }
	remove := func(endpoint string) error {
		if endpoint != "ep" {
			t.Errorf("the endpoint to be removed is %q", endpoint)
		}
		removed++
		return nil
	}
	check := func(what string, wantMade, wantRemoved int, lives, shared bool) {
		t.Helper()
		if made != wantMade || removed != wantRemoved || s.lives("a") != lives || s.shared("a") != shared {
			t.Errorf("%s: made %d, removed %d, lives %v, shared %v", what, made, removed, s.lives("a"), s.shared("a"))
		}
	}
	if s.join("a") {
		t.Error("joined what nobody has made")
	}
	if err := s.acquire("a", build); err != nil || !s.join("a") {
		t.Fatalf("acquire and join: %v", err)
	}
	check("two users", 1, 0, true, true)
	_ = s.release("a", remove)
	check("the owner left", 1, 0, true, false)
	_ = s.acquire("a", build)
	check("the owner is back", 1, 0, true, true)
	_ = s.release("a", remove)
	_ = s.release("a", remove)
	check("all left", 1, 1, false, false)
	_ = s.release("a", remove)
	check("one too many", 1, 1, false, false)
	if s.join("a") || len(s.all) > 0 {
		t.Errorf("a dead sandbox was joined or remembered: %v", s.all)
	}
	s.adopt("a", "ep")
	s.adopt("a", "ep")
	_ = s.release("a", remove)
	check("adopted, one left", 1, 1, true, false)
	_ = s.release("a", remove)
	check("adopted, all left", 1, 2, false, false)
}

// TestSandboxErrors covers one that cannot be made, and one that cannot be
// taken away and is found by the next user.
func TestSandboxErrors(t *testing.T) {
	t.Parallel()
	var s sandboxes
	broken := errors.New("broken")
	if err := s.acquire("a", func() (string, error) { return "", broken }); !errors.Is(err, broken) || s.lives("a") || len(s.all) > 0 {
		t.Errorf("acquire: %v, %v", err, s.all)
	}
	_ = s.acquire("a", func() (string, error) { return "ep", nil })
	if err := s.release("a", func(string) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("release: %v", err)
	}
	if err := s.acquire("a", func() (string, error) { return "", broken }); err != nil || s.endpointID("a") != "ep" {
		t.Errorf("what could not be taken away was made again: %v", err)
	}
}

// TestSandboxRaces lets many users come and go at once: at any time there is one
// sandbox or none.
func TestSandboxRaces(t *testing.T) {
	t.Parallel()
	var s sandboxes
	var mu sync.Mutex
	there := false
	flip := func(to bool) {
		mu.Lock()
		defer mu.Unlock()
		if there == to {
			t.Errorf("made or removed twice: %v", to)
		}
		there = to
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 500 {
				_ = s.acquire("a", func() (string, error) { flip(true); return "ep", nil })
				if s.join("a") {
					_ = s.release("a", func(string) error { flip(false); return nil })
				} else {
					t.Error("a user could not join")
				}
				_ = s.release("a", func(string) error { flip(false); return nil })
			}
		})
	}
	group.Wait()
	if there || len(s.all) > 0 {
		t.Errorf("left: %v", s.all)
	}
}
