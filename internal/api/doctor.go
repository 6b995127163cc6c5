package api

import "context"

// Finding is an element of GET /v1/doctor: what one check has found.
type Finding struct {
	Check  string // "kernel", "uplinks", …
	Status string // FindingOK, FindingNote or FindingProblem
	Text   string
	Advice string `json:",omitempty"` // what to do, if there is anything
}

// What a finding is: all is well, something to know, something that does not
// work.
const (
	FindingOK      = "ok"
	FindingNote    = "note"
	FindingProblem = "problem"
)

// Doctor returns what the daemon's checks have found, in their order.
func (c *Client) Doctor(ctx context.Context) ([]Finding, error) {
	return fetch[[]Finding](ctx, c, "GET", "/doctor", nil)
}
