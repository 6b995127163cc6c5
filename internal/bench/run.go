// Package bench measures sluice beside what else could carry the same packets.
// A scenario has arms, whose measurements take turns in rounds: on a noisy
// machine only what ran side by side can be compared. Everything happens in
// network namespaces of its own, and nothing is left.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Scenario is one question, and the arms that answer it.
type Scenario struct {
	Name    string
	About   string
	Targets []Target

	setup func(*Env) ([]arm, error)
}

// arm is one candidate. It measures once per round; an error ends the run.
type arm struct {
	name    string
	measure func() ([]sample, error)
}

// sample is a row but for what the runner knows. One with err is void.
type sample struct {
	parameters map[string]string
	value      float64
	unit       string
	err        error
}

// Scenarios returns all there are.
func Scenarios() []Scenario { return []Scenario{forwarding, lifecycle, publishing} }

// Select returns the scenarios of a comma-separated list of names, all of them
// for "".
func Select(names string) ([]Scenario, error) {
	all := Scenarios()
	if names == "" {
		return all, nil
	}
	var selected []Scenario
	for _, name := range strings.Split(names, ",") {
		i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no scenario %q: there are %s", name, strings.Join(namesOf(all), ", "))
		}
		selected = append(selected, all[i])
	}
	return selected, nil
}

func namesOf(scenarios []Scenario) (names []string) {
	for _, s := range scenarios {
		names = append(names, s.Name)
	}
	return names
}

// Run runs a scenario and returns its rows; progress gets a line per round.
// When ctx ends, so does the run, with ctx's error, and nothing is left.
func (s *Scenario) Run(ctx context.Context, e Env, rounds int, progress io.Writer) (rows []Row, err error) {
	defer func() { err = errors.Join(err, e.close()) }()
	fmt.Fprintf(progress, "%s: setting up\n", s.Name)
	if err := e.open(); err != nil {
		return nil, err
	}
	arms, err := s.setup(&e)
	if err != nil {
		return nil, err
	}
	for round := 1; round <= rounds; round++ {
		fmt.Fprintf(progress, "%s: round %d of %d:", s.Name, round, rounds)
		// Each arm is first once: the first of a round may find a colder CPU.
		for i := range arms {
			a := arms[(i+round)%len(arms)]
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			samples, err := a.measure()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", a.name, err)
			}
			fmt.Fprintf(progress, " %s", a.name)
			for _, sample := range samples {
				rows = append(rows, s.row(a, round, sample))
			}
		}
		fmt.Fprintln(progress)
	}
	return rows, nil
}

func (s *Scenario) row(a arm, round int, sample sample) Row {
	row := Row{
		Scenario: s.Name, Parameters: sample.parameters, Arm: a.name, Round: round, Value: sample.value, Unit: sample.unit,
	}
	if sample.err != nil {
		row.Value, row.Error = 0, sample.err.Error()
	}
	return row
}
