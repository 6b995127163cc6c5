package reasons

import (
	"encoding/json"
	"os"
	"testing"
)

// TestTableIsTheSource fails when somebody changed the source and did not
// generate.
func TestTableIsTheSource(t *testing.T) {
	raw, err := os.ReadFile("../../bpf/reasons.json")
	if err != nil {
		t.Fatal(err)
	}
	var source []struct {
		ID                Reason
		Name, Description string
	}
	if err := json.Unmarshal(raw, &source); err != nil {
		t.Fatal(err)
	}
	if got := All(); len(got) != len(source) {
		t.Fatalf("%d reasons, the source has %d: run make generate", len(got), len(source))
	}
	for i, reason := range All() {
		want := source[i]
		if reason != want.ID || reason.String() != want.Name || reason.Description() != want.Description {
			t.Errorf("%d %q %q, the source has %+v: run make generate", reason, reason, reason.Description(), want)
		}
	}
}

func TestUnknownReason(t *testing.T) {
	if got := Reason(9999).String(); got != "unknown-9999" {
		t.Error(got)
	}
}
