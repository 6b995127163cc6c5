// Package reasons names why the datapath drops packets. The table is
// bpf/reasons.json, from which the C enum and the table here are generated.
package reasons

import "fmt"

//go:generate go run ./gen ../../bpf/reasons.json ../../bpf/reasons.h table_generated.go

// Reason is the id of a drop reason, as drop_counts is indexed and events
// carry it. Ids are never used again.
type Reason uint16

// String returns the name that metrics and listings use.
func (r Reason) String() string {
	if int(r) < len(table) && table[r].name != "" {
		return table[r].name
	}
	return fmt.Sprintf("unknown-%d", uint16(r))
}

// Description says in a phrase what happened.
func (r Reason) Description() string {
	if int(r) < len(table) {
		return table[r].description
	}
	return ""
}

// Named returns the reason that String calls so.
func Named(name string) (Reason, bool) {
	for _, reason := range All() {
		if reason.String() == name {
			return reason, true
		}
	}
	return 0, false
}

// All returns every reason in ascending order.
func All() []Reason {
	var all []Reason
	for id, row := range table {
		if row.name != "" {
			all = append(all, Reason(id))
		}
	}
	return all
}
