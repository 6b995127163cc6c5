package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestSelftestsAreCovered compares docs/design/selftests.md with the tests that
// it names: one that is renamed or removed leaves a scenario without a test.
func TestSelftestsAreCovered(t *testing.T) {
	t.Parallel()
	const root = "../.."
	table, err := os.ReadFile(filepath.Join(root, "docs/design/selftests.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "internal/*/*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	defined := map[string]bool{}
	for _, path := range files {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(source, -1) {
			defined[string(match[1])] = true
		}
	}
	for _, name := range regexp.MustCompile("`(Test\\w+)`").FindAllSubmatch(table, -1) {
		if !defined[string(name[1])] {
			t.Errorf("there is no %s", name[1])
		}
	}
}
