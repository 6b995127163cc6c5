package api

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	_, err := NewClient(filepath.Join(t.TempDir(), "s")).Version(context.Background())
	if !errors.Is(err, ErrNoDaemon) || !strings.Contains(err.Error(), "sluice daemon") {
		t.Errorf("got %v", err)
	}
}

// TestDaemonGoesAway covers a daemon that ends before its answer, or in the
// middle of it: the client says so in one line.
func TestDaemonGoesAway(t *testing.T) {
	t.Parallel()
	for what, answer := range map[string]string{
		"no answer": "", "half a head": "HTTP/1.1 200 OK\r\n", "half a body": "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
	} {
		socket := filepath.Join(t.TempDir(), "s")
		listener, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte(answer))
			conn.Close()
			listener.Close()
		}()
		_, err = NewClient(socket).StartContainer(t.Context(), "net00", StartContainer{})
		if !errors.Is(err, ErrDaemonGone) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
