package container

import "sync"

// sandboxes are the network namespaces that containers share. The first user
// makes one, and with the last it goes, its endpoint and address with it. Each
// is known by the ID of the container that it was made for.
type sandboxes struct {
	mu  sync.Mutex
	all map[string]*sandbox
}

type sandbox struct {
	verb sync.Mutex // held while it is made or taken away

	// Guarded by sandboxes.mu:
	users    int // those that wait for verb too
	made     bool
	endpoint string // ID; "" without one
}

// acquire counts a user, and makes the sandbox unless it is there already. Build
// returns the endpoint's ID, and leaves nothing when it fails.
func (s *sandboxes) acquire(id string, build func() (endpoint string, err error)) error {
	box := s.enter(id)
	box.verb.Lock()
	defer box.verb.Unlock()
	if s.lives(id) {
		return nil
	}
	endpoint, err := build()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		box.users--
		s.drop(id, box)
		return err
	}
	box.made, box.endpoint = true, endpoint
	return nil
}

// join counts a user of a sandbox that is there, or reports that it is not.
func (s *sandboxes) join(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	box := s.all[id]
	if box == nil || !box.made || box.users == 0 {
		return false
	}
	box.users++
	return true
}

// adopt counts a user of a sandbox that an earlier daemon made.
func (s *sandboxes) adopt(id, endpoint string) {
	box := s.enter(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	box.made, box.endpoint = true, endpoint
}

// release gives up one use. After the last one remove takes the sandbox away;
// one that cannot be stays, for the next user or the next daemon.
func (s *sandboxes) release(id string, remove func(endpoint string) error) error {
	s.mu.Lock()
	box := s.all[id]
	if box != nil && box.users > 0 {
		box.users--
	}
	s.mu.Unlock()
	if box == nil {
		return nil
	}
	box.verb.Lock()
	defer box.verb.Unlock()
	s.mu.Lock()
	idle, endpoint := box.made && box.users == 0, box.endpoint
	s.mu.Unlock()
	if !idle {
		return nil
	}
	err := remove(endpoint)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		box.made, box.endpoint = false, ""
	}
	s.drop(id, box)
	return err
}

// enter counts a user, who need not find the sandbox made.
func (s *sandboxes) enter(id string) *sandbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]*sandbox{}
	}
	if s.all[id] == nil {
		s.all[id] = &sandbox{}
	}
	s.all[id].users++
	return s.all[id]
}

// drop forgets a sandbox that is not there and that nobody waits for; s.mu is
// held.
func (s *sandboxes) drop(id string, box *sandbox) {
	if box.users == 0 && !box.made {
		delete(s.all, id)
	}
}

// lives reports whether the sandbox is there.
func (s *sandboxes) lives(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	box := s.all[id]
	return box != nil && box.made
}

// abandoned reports whether the sandbox is there and nobody uses it: it could not
// be removed.
func (s *sandboxes) abandoned(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	box := s.all[id]
	return box != nil && box.made && box.users == 0
}

// shared reports whether the sandbox has more than one user.
func (s *sandboxes) shared(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	box := s.all[id]
	return box != nil && box.users > 1
}

// endpointID is that of the sandbox's endpoint; "" without one.
func (s *sandboxes) endpointID(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if box := s.all[id]; box != nil {
		return box.endpoint
	}
	return ""
}
