package bench

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

// rowsOf makes rows of consecutive rounds; NaN is a void one.
func rowsOf(arm string, values ...float64) (rows []Row) {
	for i, value := range values {
		row := Row{Scenario: "s", Parameters: map[string]string{"b": "2", "a": "1"}, Arm: arm, Round: i + 1, Value: value, Unit: "ns"}
		if math.IsNaN(value) {
			row.Value, row.Error = 0, "lost"
		}
		rows = append(rows, row)
	}
	return rows
}

func TestQuantile(t *testing.T) {
	for _, test := range []struct {
		values []float64
		q      float64
		want   float64
	}{
		{nil, 0.5, 0},
		{[]float64{7}, 0.25, 7},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{5, 1, 2, 3, 4}, 0.25, 2},
		{[]float64{5, 1, 2, 3, 4}, 0.75, 4},
		{[]float64{1, 2}, 1, 2},
	} {
		if got := quantile(test.values, test.q); got != test.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", test.values, test.q, got, test.want)
		}
	}
}

// TestSummarize has a second round that is slower by 100 in every arm, which
// must not show in a cost, and a third that is void in one.
func TestSummarize(t *testing.T) {
	rows := append(rowsOf(ArmFloor, 10, 110, 12), rowsOf(armSluice, 40, 141, math.NaN())...)
	other := Row{Scenario: "s", Arm: armSluice, Round: 1, Value: 5, Unit: "ms"}
	got := Summarize(append(rows, other))
	want := []Group{
		{"s", "a=1 b=2", "ns", []Summary{
			{Arm: ArmFloor, Median: 12, Low: 11, High: 61, Cost: 0, Rounds: 3},
			{Arm: armSluice, Median: 90.5, Low: 65.25, High: 115.75, Cost: 30.5, Rounds: 2, Void: 1, Error: "lost"},
		}},
		{"s", "", "ms", []Summary{{Arm: armSluice, Median: 5, Low: 5, High: 5, Cost: 5, Rounds: 1}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestSummarizeWithoutFloorOfTheRound: a round whose floor is void has no cost.
func TestSummarizeWithoutFloorOfTheRound(t *testing.T) {
	rows := append(rowsOf(ArmFloor, 10, math.NaN()), rowsOf(armSluice, 30, 500)...)
	if got := Summarize(rows)[0].Arms[1].Cost; got != 20 {
		t.Errorf("cost %v, want 20", got)
	}
}

func TestTable(t *testing.T) {
	rows := append(rowsOf(ArmFloor, 100), rowsOf(armSluice, 300)...)
	rows = append(rows, rowsOf(armIptables, 1100)...)
	rows = append(rows, rowsOf(armNftables, math.NaN())...)
	rows = append(rows,
		Row{Scenario: "s", Arm: armSluice, Round: 1, Value: 7, Unit: "ns"},
		Row{Scenario: "t", Arm: armSluice, Round: 1, Value: 15, Unit: "ms"},
		Row{Scenario: "u", Arm: ArmFloor, Round: 1, Value: 30, Unit: "Gbit/s"},
		Row{Scenario: "u", Arm: armSluice, Round: 1, Value: 20, Unit: "Gbit/s"})
	targets := []Target{
		{Scenario: "s", Arm: armSluice, AtMost: 0.25, Of: armIptables},
		{Scenario: "s", Parameters: "a=1 b=2", Arm: armSluice, AtMost: 250},
		{Scenario: "s", Arm: armSluice, AtMost: 1, Of: armNftables},
		{Scenario: "s", Parameters: "a=1 b=2", Arm: armSluice, AtMost: 250, Of: overFloor},
		{Scenario: "s", Parameters: "a=1 b=2", Unit: "ns", Arm: armSluice, AtMost: 2, Of: ArmFloor},
		{Scenario: "s", Unit: "ms", Arm: armSluice, AtMost: 2, Of: ArmFloor},
		{Scenario: "another", Arm: armSluice, AtMost: 1},
	}
	var out bytes.Buffer
	if err := WriteTable(&out, Summarize(rows), targets); err != nil {
		t.Fatal(err)
	}
	want := `s, ns
PARAMETERS   ARM        MEDIAN   QUARTILES      LESS FLOOR   RATIO   ROUNDS
a=1 b=2      floor      100      100 to 100     -            -       1
a=1 b=2      sluice     300      300 to 300     200          1.00    1
a=1 b=2      iptables   1100     1100 to 1100   1000         5.00    1
a=1 b=2      nftables   -        -              -            -       0
             sluice     7.00     7.00 to 7.00   -            -       1
  void rounds of nftables: 1, the last because lost
  target: a=1 b=2, sluice at most 0.25 times iptables: 0.20, met
  target: a=1 b=2, sluice at most 250 ns: 300, missed
  target: a=1 b=2, sluice at most 250 ns over the floor: 200, met
  target: a=1 b=2, sluice at most 2.00 times floor: 3.00, missed

t, ms
PARAMETERS   ARM      MEDIAN   QUARTILES      LESS FLOOR   RATIO   ROUNDS
             sluice   15.0     15.0 to 15.0   -            -       1

u, Gbit/s
PARAMETERS   ARM      MEDIAN   QUARTILES      LESS FLOOR   RATIO   ROUNDS
             floor    30.0     30.0 to 30.0   -            1.50    1
             sluice   20.0     20.0 to 20.0   -            1.00    1

`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestJSON(t *testing.T) {
	result := Result{Schema: Schema, Machine: ThisMachine("v1"), Rows: rowsOf(armSluice, 1.5, math.NaN())}
	var out bytes.Buffer
	if err := result.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, result) {
		t.Errorf("got %+v, want %+v", back, result)
	}
	for _, field := range []string{`"schema": 1`, `"scenario": "s"`, `"parameters": {`, `"arm": "sluice"`, `"round": 2`, `"value": 1.5`, `"unit": "ns"`, `"error": "lost"`} {
		if !strings.Contains(out.String(), field) {
			t.Errorf("no %s in\n%s", field, out.String())
		}
	}
	if back.Machine.Kernel == "" || back.Machine.CPU == "" || back.Machine.CPUs < 1 {
		t.Errorf("the machine is %+v", back.Machine)
	}
}
