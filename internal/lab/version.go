package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Edit is a change to a file of the tree: Old, which is there once, becomes New.
type Edit struct{ Path, Old, New string }

// BuildVersion builds what another version of this tree would be, and returns the
// path of its sluice, with its companions beside it. It needs Go.
func BuildVersion(t testing.TB, edits ...Edit) string {
	t.Helper()
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for i, e := range edits {
		path, err := filepath.Abs(filepath.Join(moduleRoot, e.Path))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), e.Old) != 1 {
			t.Fatalf("%s does not have %q once", e.Path, e.Old)
		}
		overlay.Replace[path] = filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(overlay.Replace[path], []byte(strings.Replace(string(text), e.Old, e.New, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := buildInto(dir, "-overlay", file); err != nil {
		t.Fatalf("build another version: %v", err)
	}
	return filepath.Join(dir, "sluice")
}

// moduleRoot is that of a package below internal.
var moduleRoot = filepath.Join("..", "..")
