package metrics

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// page is docs/metrics.md.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocsNameEveryMetric holds docs/metrics.md and the metrics together, with
// their types and labels.
func TestDocsNameEveryMetric(t *testing.T) {
	t.Parallel()
	m := newFake(&fakeDatapath{}, &fakeEngine{})
	m.DNSObserver("answered")
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "sluice_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		slices.Sort(labels)
		have = append(have, strings.Join([]string{f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", ")}, " "))
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(sluice_\\w+)` \\| (\\w+) \\| ([^|]*) \\|").FindAllStringSubmatch(page(t), -1) {
		labels := strings.Split(row[3], ", ")
		slices.Sort(labels)
		documented = append(documented, strings.Join([]string{row[1], row[2], strings.Join(labels, ", ")}, " "))
	}
	slices.Sort(documented)
	slices.Sort(have)
	if !slices.Equal(documented, have) {
		t.Errorf("documented:\n%s\nthere are:\n%s", strings.Join(documented, "\n"), strings.Join(have, "\n"))
	}
}

// Every metric that the text, its queries and its alerts use is in its table.
func TestDocsUseWhatThereIs(t *testing.T) {
	t.Parallel()
	text := page(t)
	for _, name := range regexp.MustCompile(`\bsluice_\w+`).FindAllString(text, -1) {
		if !strings.Contains(text, "| `"+strings.TrimSuffix(name, "_bucket")+"` |") {
			t.Errorf("%s is no metric", name)
		}
	}
}

// The alerts are rules that Prometheus takes.
func TestAlertsAreValid(t *testing.T) {
	t.Parallel()
	_, rest, _ := strings.Cut(page(t), "```yaml\n")
	rules, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("no rules in docs/metrics.md")
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := exec.Command("promtool", "check", "rules", path).CombinedOutput()
	if err != nil || !strings.Contains(string(output), "SUCCESS: 5 rules found") {
		t.Errorf("promtool check rules: %v\n%s", err, output)
	}
}
