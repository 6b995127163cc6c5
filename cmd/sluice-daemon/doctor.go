package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/daemon"
)

// newDoctor checks a host where no daemon runs, and prints what it finds as
// JSON: the client knows the rest.
func newDoctor(doctor func(daemon.Options) ([]api.Finding, error)) *cobra.Command {
	return &cobra.Command{
		Use:    "doctor",
		Short:  "Check a host without a daemon",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			root, err := c.Flags().GetString("root")
			if err != nil {
				return err
			}
			findings, err := doctor(daemon.Options{Root: root})
			if err != nil {
				return err
			}
			return json.NewEncoder(c.OutOrStdout()).Encode(findings)
		},
	}
}
