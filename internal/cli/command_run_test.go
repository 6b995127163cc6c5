package cli

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/dirs"
)

// TestRemovedBeforeTheStart covers a container that somebody else removes before
// it is started: what it failed for is said in one line, and no more.
func TestRemovedBeforeTheStart(t *testing.T) {
	t.Parallel()
	env, _, stderr := testEnv(t)
	root := t.TempDir()
	socket := dirs.New(root).Socket()
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/create") {
			_, _ = w.Write([]byte(`{"Id":"abc"}`))
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"message":"No such container: abc"}`))
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	code := Main(context.Background(), env, []string{"--root", root, "run", "true"})
	if want := "sluice: No such container: abc\n"; code != exitRun || stderr.String() != want {
		t.Errorf("exit code %d, want %d; said %q, want %q", code, exitRun, stderr, want)
	}
}
