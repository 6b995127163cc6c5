package container

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/dirs"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/store"
)

var errInjected = errors.New("injected")

// fakeEngine has one network, and keeps the endpoints that it is told of.
type fakeEngine struct {
	Engine
	fail      bool
	keeps     atomic.Bool // its endpoints: none can be deleted
	endpoints map[string]engine.Endpoint
}

func (f *fakeEngine) Network(string) (engine.Network, error) {
	return engine.Network{ID: "n", Name: "custom", Driver: engine.DriverBridge}, nil
}

func (f *fakeEngine) CreateEndpoint(_ context.Context, req engine.EndpointRequest) (engine.Endpoint, error) {
	if f.fail {
		return engine.Endpoint{}, errInjected
	}
	ep := engine.Endpoint{ID: "e", Sandbox: req.Sandbox, Address: netip.MustParseAddr("172.20.0.2")}
	f.endpoints[ep.ID] = ep
	return ep, nil
}

func (f *fakeEngine) DeleteEndpoint(_ context.Context, id string) error {
	if f.keeps.Load() {
		return errInjected
	}
	delete(f.endpoints, id)
	return nil
}

func (f *fakeEngine) DrainEndpoint(string, bool) error { return nil }

func (f *fakeEngine) Endpoint(id string) (engine.Endpoint, error) { return f.endpoints[id], nil }

func (f *fakeEngine) Endpoints(string) []engine.Endpoint {
	var all []engine.Endpoint
	for _, ep := range f.endpoints {
		all = append(all, ep)
	}
	return all
}

// fakeNames counts the sandboxes that it serves.
type fakeNames struct {
	fail   bool
	served map[string]bool
}

func (f *fakeNames) Serve(sandbox string, _ []netip.AddrPort) error {
	if f.fail {
		return errInjected
	}
	f.served[sandbox] = true
	return nil
}

func (f *fakeNames) Stop(sandbox string) error {
	delete(f.served, sandbox)
	return nil
}

// failingStore refuses running containers, or to delete any.
type failingStore struct {
	*store.DB
	fail   bool
	refuse atomic.Bool // to delete
	full   atomic.Bool // refuse everything
}

func (f *failingStore) Delete(bucket, key string) error {
	if f.refuse.Load() || f.full.Load() {
		return errInjected
	}
	return f.DB.Delete(bucket, key)
}

func (f *failingStore) Put(bucket, key string, value any) error {
	if r, ok := value.(Record); f.full.Load() || ok && f.fail && r.State == Running {
		return errInjected
	}
	return f.DB.Put(bucket, key, value)
}

// starting is a manager over fakes, with namespaces and shims of real life.
type starting struct {
	*Manager
	engine *fakeEngine
	names  *fakeNames
	store  *failingStore
	record Record
	closer sync.Once
}

func (s *starting) closeOnce() { s.closer.Do(s.Close) }

func newStarting(t *testing.T, command string) *starting {
	t.Helper()
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "github.com/sluice-net/sluice/cmd/sluice-shim")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	db, err := store.Open(filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	s := &starting{
		engine: &fakeEngine{endpoints: map[string]engine.Endpoint{}},
		names:  &fakeNames{served: map[string]bool{}},
		store:  &failingStore{DB: db},
	}
	s.Manager, err = New(Options{
		Dirs: dirs.New(t.TempDir()), Store: s.store, Engine: s.engine, Names: s.names,
		Shim: filepath.Join(bin, "sluice-shim"),
		Log:  slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Reset(context.Background()); err != nil {
			t.Error(err)
		}
		s.closeOnce()
		db.Close()
	})
	s.record, err = s.Create(api.CreateContainer{Name: "net00", Cmd: []string{command}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// left is what a start has made.
func (s *starting) left() string {
	return fmt.Sprint(entries(s.Dirs.Netns()), entries(s.Dirs.Shims()), s.engine.endpoints, s.names.served)
}

// TestEveryStepOfAStartFails makes each step of a start fail: nothing is left, and
// once the reason is gone the container starts.
func TestEveryStepOfAStartFails(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]struct {
		command string
		fail    func(s *starting) (mend func())
	}{
		"namespace": {"", func(s *starting) func() {
			// A directory that is in the way, and not empty.
			in := filepath.Join(s.Dirs.Sandbox(s.record.ID), "way")
			_ = os.MkdirAll(in, 0o700)
			return func() { _ = os.RemoveAll(filepath.Dir(in)) }
		}},
		"endpoint": {"", func(s *starting) func() {
			s.engine.fail = true
			return func() { s.engine.fail = false }
		}},
		"files": {"", func(s *starting) func() {
			dir := s.Dirs.Container(s.record.ID)
			_ = os.Rename(dir, dir+"-away")
			_ = os.WriteFile(dir, nil, 0o600)
			return func() { _ = os.Remove(dir); _ = os.Rename(dir+"-away", dir) }
		}},
		"names": {"", func(s *starting) func() {
			s.names.fail = true
			return func() { s.names.fail = false }
		}},
		"shim's program": {"", func(s *starting) func() {
			was := s.Shim
			s.Shim = "/nonexistent"
			return func() { s.Shim = was }
		}},
		"shim's start": {"", func(s *starting) func() {
			was := s.Shim
			s.Shim = "/bin/false"
			return func() { s.Shim = was }
		}},
		"command": {"/nonexistent", func(*starting) func() { return nil }},
		"record": {"", func(s *starting) func() {
			s.store.fail = true
			return func() { s.store.fail = false }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := at.command
			if command == "" {
				command = "cat"
			}
			s := newStarting(t, command)
			before := s.left()
			mend := at.fail(s)
			if _, err := s.Start(context.Background(), "net00", false); err == nil {
				t.Fatal("it started")
			}
			if mend == nil {
				mend = func() {}
			}
			if name == "namespace" {
				mend() // what was in the way is no sandbox
			}
			if got := s.left(); got != before {
				t.Errorf("left %s, was %s", got, before)
			}
			if r, err := s.Get("net00"); err != nil || r.State != Created || r.Pid != 0 || r.Error == "" {
				t.Errorf("the record: %+v, %v", r, err)
			}
			mend()
			if at.command != "" {
				return
			}
			if _, err := s.Start(context.Background(), "net00", false); err != nil {
				t.Errorf("the next start: %v", err)
			}
		})
	}
}
