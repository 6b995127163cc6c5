package bench

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/lab"
)

func TestMain(m *testing.M) {
	code := m.Run()
	lab.RemoveBinary()
	os.Exit(code)
}

func TestSelect(t *testing.T) {
	all, err := Select("")
	if err != nil || len(all) != len(Scenarios()) {
		t.Errorf("all: %d scenarios, %v", len(all), err)
	}
	one, err := Select(forwardingName)
	if err != nil || len(one) != 1 || one[0].Name != forwardingName {
		t.Errorf("one: %v, %v", namesOf(one), err)
	}
	if _, err := Select("forwarding,nonsense"); err == nil || !strings.Contains(err.Error(), `"nonsense"`) {
		t.Errorf("unknown name: %v", err)
	}
}

// TestRunTakesTurns checks that every round has every arm, each first once.
func TestRunTakesTurns(t *testing.T) {
	var order []string
	fake := func(name string) arm {
		return arm{name, func() ([]sample, error) {
			order = append(order, name)
			return []sample{{value: float64(len(order)), unit: "ns"}}, nil
		}}
	}
	s := Scenario{Name: "fake", setup: func(*Env) ([]arm, error) { return []arm{fake("a"), fake("b")}, nil }}
	var progress bytes.Buffer
	rows, err := s.Run(context.Background(), Env{}, 2, &progress)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"b", "a", "a", "b"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if len(rows) != 4 || rows[3].Round != 2 || rows[3].Arm != "b" || rows[3].Value != 4 {
		t.Errorf("rows %+v", rows)
	}
	if !strings.Contains(progress.String(), "fake: round 2 of 2: a b\n") {
		t.Errorf("progress %q", progress.String())
	}
}

// TestRunCleansUp: whatever ends a run, nothing is left.
func TestRunCleansUp(t *testing.T) {
	broken := errors.New("broken")
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		arms []arm
		err  error
		want error
	}{
		"setup":     {context.Background(), nil, broken, broken},
		"measure":   {context.Background(), []arm{{"a", func() ([]sample, error) { return nil, broken }}}, nil, broken},
		"cancelled": {cancelled, []arm{{"a", nil}}, nil, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			s := Scenario{Name: "fake", setup: func(e *Env) ([]arm, error) {
				_, err := newWorld(e, "w")
				return test.arms, errors.Join(err, test.err)
			}}
			if _, err := s.Run(test.ctx, Env{}, 1, new(bytes.Buffer)); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			expectNothingLeft(t)
		})
	}
}

// TestEveryScenario runs all of them on real packets, for a moment.
func TestEveryScenario(t *testing.T) {
	sluice := lab.Binary(t) // before TMPDIR is a test's
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			rows, err := s.Run(context.Background(), Env{Sluice: sluice, Frames: 1000}, 1, t.Output())
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows {
				if row.Error != "" || row.Value <= 0 {
					t.Errorf("%+v", row)
				}
			}
			for _, g := range Summarize(rows) {
				for _, want := range []string{ArmFloor, armSluice} {
					if _, ok := g.arm(want); !ok {
						t.Errorf("%s %s has no %s", g.Scenario, g.Parameters, want)
					}
				}
			}
			for _, target := range s.Targets {
				if !slices.ContainsFunc(Summarize(rows), func(g Group) bool { return target.applies(&g) }) {
					t.Errorf("the target %+v is of no group", target)
				}
			}
			expectNothingLeft(t)
		})
	}
}

// expectNothingLeft checks the directory for temporary files and the mounts
// below it.
func expectNothingLeft(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "sluice-bench-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), os.TempDir()+"/sluice-bench-") {
		t.Errorf("mounts are left: %v\n%s", err, mounts)
	}
}
