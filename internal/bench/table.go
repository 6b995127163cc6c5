package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Target is what an arm should cost.
type Target struct {
	Scenario   string
	Parameters string // as in Group; "" for every group of the scenario
	Unit       string // as in Group; "" for every unit
	Arm        string
	AtMost     float64
	// Of is the arm whose cost AtMost multiplies; or ArmFloor, whose median it
	// then multiplies and compares with the arm's. "" if AtMost is a median in
	// the group's unit, overFloor if it is a cost in it.
	Of string
}

const overFloor = "over the floor"

// WriteTable writes a table for each scenario and unit, and below it which
// targets are met. RATIO is an arm's cost in multiples of sluice's; a rate in
// multiples of its rate.
func WriteTable(w io.Writer, groups []Group, targets []Target) error {
	for len(groups) > 0 {
		first := groups[0]
		n := 1
		for n < len(groups) && groups[n].Scenario == first.Scenario && groups[n].Unit == first.Unit {
			n++
		}
		if err := writeScenario(w, groups[:n], targets); err != nil {
			return err
		}
		groups = groups[n:]
	}
	return nil
}

func writeScenario(w io.Writer, groups []Group, targets []Target) error {
	fmt.Fprintf(w, "%s, %s\n", groups[0].Scenario, groups[0].Unit)
	table := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	fmt.Fprintln(table, "PARAMETERS\tARM\tMEDIAN\tQUARTILES\tLESS FLOOR\tRATIO\tROUNDS")
	for _, g := range groups {
		for _, s := range g.Arms {
			writeArm(table, &g, s)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, g := range groups {
		for _, s := range g.Arms {
			if s.Void > 0 {
				fmt.Fprintf(w, "  void rounds of %s: %d, the last because %s\n", s.Arm, s.Void, s.Error)
			}
		}
		for _, t := range targets {
			if line := t.judge(&g); line != "" {
				fmt.Fprintf(w, "  target: %s, %s\n", g.Parameters, line)
			}
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

func writeArm(w io.Writer, g *Group, s Summary) {
	if s.Rounds == 0 {
		fmt.Fprintf(w, "%s\t%s\t-\t-\t-\t-\t0\n", g.Parameters, s.Arm)
		return
	}
	cost, ratio := "-", "-"
	if isRate(g.Unit) {
		if own, ok := g.arm(armSluice); ok && own.Median > 0 {
			ratio = fmt.Sprintf("%.2f", s.Median/own.Median)
		}
	} else if _, ok := g.arm(ArmFloor); ok && s.Arm != ArmFloor {
		cost = figure(s.Cost)
		if own, ok := g.arm(armSluice); ok && own.Cost > 0 {
			ratio = fmt.Sprintf("%.2f", s.Cost/own.Cost)
		}
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s to %s\t%s\t%s\t%d\n",
		g.Parameters, s.Arm, figure(s.Median), figure(s.Low), figure(s.High), cost, ratio, s.Rounds)
}

// isRate reports whether more is better: what the floor does can then not be
// taken off, and RATIO is of medians.
func isRate(unit string) bool { return strings.HasSuffix(unit, "/s") }

func (t *Target) applies(g *Group) bool {
	return t.Scenario == g.Scenario && (t.Parameters == "" || t.Parameters == g.Parameters) && (t.Unit == "" || t.Unit == g.Unit)
}

// judge compares a group with the target; "" when it says nothing of it.
func (t *Target) judge(g *Group) string {
	own, ok := g.arm(t.Arm)
	if !ok || !t.applies(g) {
		return ""
	}
	switch t.Of {
	case "":
		return fmt.Sprintf("%s at most %s %s: %s, %s", t.Arm, figure(t.AtMost), g.Unit, figure(own.Median), met(own.Median <= t.AtMost))
	case overFloor:
		return fmt.Sprintf("%s at most %s %s over the floor: %s, %s", t.Arm, figure(t.AtMost), g.Unit, figure(own.Cost), met(own.Cost <= t.AtMost))
	}
	other, ok := g.arm(t.Of)
	value, of := own.Cost, other.Cost
	if t.Of == ArmFloor {
		value, of = own.Median, other.Median
	}
	if !ok || of <= 0 {
		return ""
	}
	ratio := value / of
	return fmt.Sprintf("%s at most %.2f times %s: %.2f, %s", t.Arm, t.AtMost, t.Of, ratio, met(ratio <= t.AtMost))
}

func met(ok bool) string {
	if ok {
		return "met"
	}
	return "missed"
}

// figure prints three digits or so.
func figure(v float64) string {
	switch {
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
