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

// errLeftOut is why a part is not measured on this machine.
var errLeftOut = errors.New("left out")

// Scenario is one question, and the arms that answer it.
type Scenario struct {
	Name    string
	About   string
	Rounds  int // unless somebody wants more, or less
	Targets []Target

	parts []part
}

// part is done and gone before the next one is set up.
type part struct {
	wide  bool // only if everything is wanted
	setup func(*Env) ([]contest, error)
}

// contest is the arms that are compared with each other, and take turns.
type contest []arm

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
func Scenarios() []Scenario {
	return []Scenario{forwarding, connecting, local, latency, bulk, lifecycle, publishing}
}

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

// Run runs a scenario and returns its rows; progress gets a line per round. No
// rounds are the scenario's own number. When ctx ends, so does the run, with
// ctx's error, and nothing is left.
func (s *Scenario) Run(ctx context.Context, e Env, rounds int, progress io.Writer) (rows []Row, err error) {
	if rounds == 0 {
		rounds = s.Rounds
	}
	for _, p := range s.parts {
		if p.wide && !e.Wide {
			continue
		}
		more, err := s.runPart(ctx, e, p, rounds, progress)
		if errors.Is(err, errLeftOut) {
			fmt.Fprintf(progress, "%s: %v\n", s.Name, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func (s *Scenario) runPart(ctx context.Context, e Env, p part, rounds int, progress io.Writer) (rows []Row, err error) {
	defer func() { err = errors.Join(err, e.close()) }()
	fmt.Fprintf(progress, "%s: setting up\n", s.Name)
	if err := e.open(); err != nil {
		return nil, err
	}
	contests, err := p.setup(&e)
	if err != nil {
		return nil, err
	}
	for round := 1; round <= rounds && len(contests) > 0; round++ {
		fmt.Fprintf(progress, "%s: round %d of %d\n", s.Name, round, rounds)
		for _, c := range contests {
			measured, err := s.turns(ctx, &e, c, round)
			if err != nil {
				return nil, err
			}
			rows = append(rows, measured...)
		}
	}
	return rows, nil
}

// turns gives each arm of a contest its turn in a round. Each is first once:
// the first may find a colder CPU.
func (s *Scenario) turns(ctx context.Context, e *Env, c contest, round int) (rows []Row, err error) {
	for i := range c {
		a := c[(i+round-1)%len(c)]
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !e.wants(map[string]string{"arm": a.name}) {
			continue
		}
		samples, err := a.measure()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.name, err)
		}
		for _, sample := range samples {
			rows = append(rows, s.row(a, round, sample))
		}
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
