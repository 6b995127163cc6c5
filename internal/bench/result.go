package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Schema is the version of the JSON that WriteJSON writes. It is raised when a
// field changes its meaning or goes, not when one is added.
const Schema = 1

// Result is all that one run measured, and where.
type Result struct {
	Schema  int     `json:"schema"`
	Machine Machine `json:"machine"`
	Rows    []Row   `json:"rows"`
}

// Machine is what figures depend on beside the code.
type Machine struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Sluice string `json:"sluice"` // version of the binary
}

// Row is one measurement. Rows of the same scenario, parameters and unit can be
// compared; floors are rows as well, of the arm "floor".
type Row struct {
	Scenario   string            `json:"scenario"`
	Parameters map[string]string `json:"parameters"`
	Arm        string            `json:"arm"`
	Round      int               `json:"round"` // from 1; the arms of a round ran one after the other
	Value      float64           `json:"value"` // 0 when the row is void
	Unit       string            `json:"unit"`
	Error      string            `json:"error,omitempty"` // why the row is void
}

// ArmFloor is the arm that does all but what is measured.
const ArmFloor = "floor"

// WriteJSON writes the result as one indented object.
func (r *Result) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// Save writes the result to a file as JSON.
func (r *Result) Save(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(r.WriteJSON(file), file.Close())
}

// WriteTables writes the machine and a table per group.
func (r *Result) WriteTables(w io.Writer, targets []Target) error {
	m := r.Machine
	fmt.Fprintf(w, "Linux %s, %d x %s, sluice %s\n\n", m.Kernel, m.CPUs, m.CPU, m.Sluice)
	return WriteTable(w, Summarize(r.Rows), targets)
}
