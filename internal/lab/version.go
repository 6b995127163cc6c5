package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Edit is a change to a file of the tree: Old, which is there once, becomes New.
type Edit struct{ Path, Old, New string }

// versions are those that were built, by their edits.
var versions = struct {
	sync.Mutex
	built map[string]string
}{built: map[string]string{}}

// BuildVersion builds what another version of this tree would be, once, and
// returns the path of its sluice, with its companions beside it. It needs Go.
func BuildVersion(t testing.TB, edits ...Edit) string {
	t.Helper()
	versions.Lock()
	defer versions.Unlock()
	key := fmt.Sprint(edits)
	if path := versions.built[key]; path != "" {
		return path
	}
	dir := filepath.Join(filepath.Dir(Binary(t)), fmt.Sprintf("version%d", len(versions.built)+1))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	overlay, err := writeOverlay(dir, edits)
	if err == nil {
		err = buildInto(dir, "-overlay", overlay)
	}
	if err != nil {
		t.Fatalf("build another version: %v", err)
	}
	versions.built[key] = filepath.Join(dir, "sluice")
	return versions.built[key]
}

// writeOverlay writes the edited files to dir, and returns the file that says to
// the go command which are in the place of which.
func writeOverlay(dir string, edits []Edit) (string, error) {
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for i, e := range edits {
		path, err := filepath.Abs(filepath.Join(moduleRoot, e.Path))
		if err != nil {
			return "", err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if strings.Count(string(text), e.Old) != 1 {
			return "", fmt.Errorf("%s does not have %q once", e.Path, e.Old)
		}
		overlay.Replace[path] = filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(overlay.Replace[path], []byte(strings.Replace(string(text), e.Old, e.New, 1)), 0o600); err != nil {
			return "", err
		}
	}
	raw, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, raw, 0o600)
}

// moduleRoot is that of a package below internal.
var moduleRoot = filepath.Join("..", "..")
