package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/internal/traffic"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == traffic.Command {
		if err := traffic.Main(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
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
	first := part{setup: func(*Env) ([]contest, error) {
		return []contest{{fake("a"), fake("b")}, {fake("c")}}, nil
	}}
	s := Scenario{Name: "fake", Rounds: 2, parts: []part{first, {wide: true}, {setup: func(*Env) ([]contest, error) {
		return nil, fmt.Errorf("%w: no such thing here", errLeftOut)
	}}}}
	var progress bytes.Buffer
	rows, err := s.Run(context.Background(), Env{}, 0, &progress)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "c", "b", "a", "c"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if len(rows) != 6 || rows[4].Round != 2 || rows[4].Arm != "a" || rows[4].Value != 5 {
		t.Errorf("rows %+v", rows)
	}
	if !strings.Contains(progress.String(), "fake: round 2 of 2\n") || !strings.Contains(progress.String(), "fake: left out: no such thing here\n") {
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
			e := Env{Temp: t.TempDir()}
			s := Scenario{Name: "fake", parts: []part{{setup: func(e *Env) ([]contest, error) {
				_, err := newWorld(e, "w")
				return []contest{test.arms}, errors.Join(err, test.err)
			}}}}
			if _, err := s.Run(test.ctx, e, 1, new(bytes.Buffer)); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			expectNothingLeft(t, e.Temp)
		})
	}
}

// TestEveryScenario runs all of them on real packets, for a moment.
func TestEveryScenario(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e := Env{
		Sluice: lab.Binary(t), Self: self, Frames: 1000, Flows: 2000, Turn: 10 * time.Millisecond, Ports: []int{1, 20},
	}
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			e := e
			e.Temp = t.TempDir()
			rows, err := s.Run(context.Background(), e, 1, t.Output())
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
			expectNothingLeft(t, e.Temp)
		})
	}
}

// expectNothingLeft checks a directory and the mounts below it.
func expectNothingLeft(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("mounts are left: %v\n%s", err, mounts)
	}
}
