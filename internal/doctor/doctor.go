// Package doctor says what is wrong with a host and an instance, and what to do
// about it. A check is a function of facts that others gather; it returns a
// finding for each thing that there is to say, and one at least.
package doctor

import (
	"fmt"

	"github.com/sluice-net/sluice/internal/api"
)

// findings are those of one check.
type findings struct {
	check string
	all   []api.Finding
}

func of(check string) *findings { return &findings{check: check} }

func (f *findings) add(status, advice, format string, args []any) {
	f.all = append(f.all, api.Finding{Check: f.check, Status: status, Text: fmt.Sprintf(format, args...), Advice: advice})
}

func (f *findings) ok(format string, args ...any) { f.add(api.FindingOK, "", format, args) }

func (f *findings) note(advice, format string, args ...any) {
	f.add(api.FindingNote, advice, format, args)
}

func (f *findings) problem(advice, format string, args ...any) {
	f.add(api.FindingProblem, advice, format, args)
}

// orOK returns the findings, or else that all is well.
func (f *findings) orOK(format string, args ...any) []api.Finding {
	if len(f.all) == 0 {
		f.ok(format, args...)
	}
	return f.all
}

// Failed is a check whose facts could not be had.
func Failed(check string, err error) []api.Finding {
	f := of(check)
	f.problem("", "it cannot be told: %v", err)
	return f.all
}

// repaired is what becomes of a difference between intent and kernel.
const repaired = "the daemon repairs it within --repair-interval; find out what changes it"
