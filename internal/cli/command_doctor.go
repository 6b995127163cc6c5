package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/cliformat"
)

// findingRow is a line of doctor, its fields those that templates have.
type findingRow struct {
	api.Finding
	Message string // the text and the advice
}

var findingColumns = []cliformat.Column{
	{Header: "STATUS", Field: "Status"},
	{Header: "CHECK", Field: "Check"},
	{Header: "FINDING", Field: "Message"},
}

func newDoctor(env *Env) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check the host and the instance, and say what to do",
		Long: "Check the host and the instance, a line for each finding, and say what to do. STATUS is ok, note for what is good to\n" +
			"know, or problem; the exit code is 1 when there is a problem. Nothing is changed.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			findings, err := env.findings(c.Context())
			if err != nil {
				return err
			}
			if err := printFindings(env, format, findings); err != nil {
				return err
			}
			for _, f := range findings {
				if f.Status == api.FindingProblem {
					return &codeError{code: exitError}
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", "", "table, json, or a Go template")
	return c
}

// findings asks the daemon, and where none runs the daemon's program.
func (env *Env) findings(ctx context.Context) (findings []api.Finding, err error) {
	findings, err = env.client().Doctor(ctx)
	if !errors.Is(err, api.ErrNoDaemon) {
		return findings, err
	}
	raw, err := env.AskDaemon("doctor", "--root="+env.root)
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return nil, &codeError{code: exitError, cause: err} // it has said why
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &findings); err != nil {
		return nil, fmt.Errorf("what the daemon's program found: %w", err)
	}
	return findings, nil
}

func printFindings(env *Env, format string, findings []api.Finding) error {
	if format == "json" {
		return cliformat.List(env.Stdout, format, nil, findings)
	}
	var rows []findingRow
	for _, f := range findings {
		row := findingRow{Finding: f, Message: f.Text}
		if f.Advice != "" {
			row.Message += "; " + f.Advice
		}
		rows = append(rows, row)
	}
	return cliformat.List(env.Stdout, format, findingColumns, rows)
}
