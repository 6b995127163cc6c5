package netdev

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
}

// within runs fn in the namespace at path.
func within(t testing.TB, path string, fn func() error) {
	t.Helper()
	if err := InNamespace(path, fn); err != nil {
		t.Fatal(err)
	}
}

func TestNamespaceHasLoopbackOnly(t *testing.T) {
	t.Parallel()
	needRoot(t)
	path := filepath.Join(t.TempDir(), "dir", "ns")
	if err := NewNamespace(path); err != nil {
		t.Fatal(err)
	}
	if !NamespaceExists(path) {
		t.Error("the namespace is not there")
	}
	within(t, path, func() error {
		links, err := net.Interfaces()
		if err == nil && (len(links) != 1 || links[0].Name != "lo" || links[0].Flags&net.FlagUp == 0) {
			t.Errorf("devices: %v", links)
		}
		return err
	})
	for range 2 {
		if err := DeleteNamespace(path); err != nil {
			t.Fatal(err)
		}
	}
	if NamespaceExists(path) {
		t.Error("the namespace stayed")
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file stayed: %v", err)
	}
}

func TestNamespaceReplacesWhatWasLeft(t *testing.T) {
	t.Parallel()
	needRoot(t)
	path := filepath.Join(t.TempDir(), "ns")
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if NamespaceExists(path) {
		t.Error("a plain file passes for a namespace")
	}
	for range 2 { // over a stale file, then over a namespace
		if err := NewNamespace(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := DeleteNamespace(path); err != nil {
		t.Fatal(err)
	}
}

func TestThreadsComeBack(t *testing.T) {
	t.Parallel()
	needRoot(t)
	path := filepath.Join(t.TempDir(), "ns")
	if err := NewNamespace(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { DeleteNamespace(path) })
	home, err := os.Readlink(threadNamespace)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		within(t, path, func() error { return nil })
		err := onThread(func() error {
			here, err := os.Readlink(threadNamespace)
			if here != home {
				t.Errorf("a thread is in %s instead of %s", here, home)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
