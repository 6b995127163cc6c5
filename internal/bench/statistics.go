package bench

import (
	"maps"
	"slices"
	"strings"
)

// Summary is what the rounds of one arm say together. Cost is the median of
// the differences to the floor of the same round, so that what slows a whole
// round down cancels out; it is Median's equal where there is no floor.
type Summary struct {
	Arm       string
	Median    float64
	Low, High float64 // quartiles
	Cost      float64
	Rounds    int
	Void      int    // rounds that do not count
	Error     string // of the last void round
}

// Group is the arms that can be compared with each other.
type Group struct {
	Scenario   string
	Parameters string // "name=value", sorted
	Unit       string
	Arms       []Summary
}

// arm returns the summary of an arm, false when no round of it counts.
func (g *Group) arm(name string) (Summary, bool) {
	for _, s := range g.Arms {
		if s.Arm == name {
			return s, s.Rounds > 0
		}
	}
	return Summary{}, false
}

// Summarize groups rows, in the order in which groups and arms first appear.
func Summarize(rows []Row) []Group {
	var groups []Group
	members := map[int][]Row{}
	for _, row := range rows {
		parameters := parametersOf(row)
		i := slices.IndexFunc(groups, func(g Group) bool {
			return g.Scenario == row.Scenario && g.Parameters == parameters && g.Unit == row.Unit
		})
		if i < 0 {
			i = len(groups)
			groups = append(groups, Group{Scenario: row.Scenario, Parameters: parameters, Unit: row.Unit})
		}
		members[i] = append(members[i], row)
	}
	for i := range groups {
		groups[i].Arms = summarizeArms(members[i])
	}
	return groups
}

func parametersOf(row Row) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(row.Parameters)) {
		words = append(words, name+"="+row.Parameters[name])
	}
	return strings.Join(words, " ")
}

func summarizeArms(rows []Row) []Summary {
	floors := map[int]float64{}
	var arms []string
	for _, row := range rows {
		if row.Arm == ArmFloor && row.Error == "" {
			floors[row.Round] = row.Value
		}
		if !slices.Contains(arms, row.Arm) {
			arms = append(arms, row.Arm)
		}
	}
	var summaries []Summary
	for _, arm := range arms {
		s := Summary{Arm: arm}
		var values, costs []float64
		for _, row := range rows {
			if row.Arm != arm {
				continue
			}
			if row.Error != "" {
				s.Void++
				s.Error = row.Error
				continue
			}
			values = append(values, row.Value)
			floor, measured := floors[row.Round]
			if measured || len(floors) == 0 {
				costs = append(costs, row.Value-floor)
			}
		}
		s.Rounds = len(values)
		s.Low, s.Median, s.High = quantile(values, 0.25), quantile(values, 0.5), quantile(values, 0.75)
		s.Cost = quantile(costs, 0.5)
		summaries = append(summaries, s)
	}
	return summaries
}

// quantile interpolates linearly between the two nearest values; 0 of none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below == len(sorted)-1 {
		return sorted[below]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}
