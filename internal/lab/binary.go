package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sluice-net/sluice/internal/companion"
)

// prebuilt names a sluice, with its companions beside it, that is tested instead of
// one built from this tree: for machines without Go.
const prebuilt = "SLUICE_BINARY"

// built is the directory that build has made, if it was called.
var built string

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sluice-bin-")
	if err != nil {
		return "", err
	}
	built = dir
	if err := os.Chmod(dir, 0o755); err != nil { // for tests that run it as nobody
		return "", err
	}
	return dir, buildInto(dir)
})

func buildInto(dir string, flags ...string) error {
	const commands = "github.com/sluice-net/sluice/cmd/"
	args := append([]string{"build", "-ldflags=-s -w", "-o", dir}, flags...)
	args = append(args, commands+"sluice", commands+companion.Daemon, commands+companion.Shim)
	if output, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	return nil
}

// Binary is the path of a sluice that was built from this tree, or that
// SLUICE_BINARY names, with its companions beside it.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(prebuilt); path != "" {
		return path
	}
	dir, err := build()
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	return filepath.Join(dir, "sluice")
}

// RemoveBinary removes what Binary built; TestMain calls it last.
func RemoveBinary() { os.RemoveAll(built) }
