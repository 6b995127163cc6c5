package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/daemon"
)

// newReset takes an instance away that has no daemon. `sluice system reset`
// has asked whoever must be asked.
func newReset(reset func(context.Context, daemon.Options) error) *cobra.Command {
	return &cobra.Command{
		Use:    "reset",
		Short:  "Take an instance without a daemon away",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			root, err := c.Flags().GetString("root")
			if err != nil {
				return err
			}
			return reset(c.Context(), daemon.Options{
				Root: root,
				Log:  slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
			})
		},
	}
}
