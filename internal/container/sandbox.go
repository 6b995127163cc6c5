package container

import (
	"sync"

	"github.com/sluice-net/sluice/internal/netdev"
)

// sandboxes counts the users of each network namespace: the first one makes
// it, and with the last one it goes, its address with it.
type sandboxes struct {
	mu    sync.Mutex
	users map[string]int // by path
}

// acquire makes the namespace at path unless it has users.
func (s *sandboxes) acquire(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == nil {
		s.users = map[string]int{}
	}
	if s.users[path] == 0 {
		if err := netdev.NewNamespace(path); err != nil {
			return err
		}
	}
	s.users[path]++
	return nil
}

// adopt counts a user of a namespace that is there already.
func (s *sandboxes) adopt(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == nil {
		s.users = map[string]int{}
	}
	s.users[path]++
}

// release gives up one use. After the last one, empty is called to take away
// what is in the namespace, and the namespace is removed.
func (s *sandboxes) release(path string, empty func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[path] > 1 {
		s.users[path]--
		return nil
	}
	if err := empty(); err != nil {
		return err
	}
	delete(s.users, path)
	return netdev.DeleteNamespace(path)
}
