package unixpath

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUse(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), strings.Repeat("d", 200))} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "socket")
		var listener net.Listener
		err := Use(path, func(short string) (err error) {
			listener, err = net.Listen("unix", short)
			return err
		})
		if err != nil {
			t.Fatalf("listen on a path of %d bytes: %v", len(path), err)
		}
		defer listener.Close()
		err = Use(path, func(short string) error {
			conn, err := net.Dial("unix", short)
			if err == nil {
				conn.Close()
			}
			return err
		})
		if err != nil {
			t.Errorf("connect to a path of %d bytes: %v", len(path), err)
		}
	}
}

func TestUseWithoutDirectory(t *testing.T) {
	err := Use("/nowhere/"+strings.Repeat("d", 200)+"/socket", func(string) error { return nil })
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that the directory does not exist", err)
	}
}
