package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/cliformat"
)

// inspector looks for an object.
type inspector func(ctx context.Context, ref string) (any, error)

func (env *Env) inspectContainer(ctx context.Context, ref string) (any, error) {
	return env.client().InspectContainer(ctx, ref)
}

func (env *Env) inspectNetwork(ctx context.Context, ref string) (any, error) {
	return env.client().InspectNetwork(ctx, ref)
}

func newInspect(env *Env) *cobra.Command {
	var format, kind string
	c := &cobra.Command{
		Use:   "inspect NAME|ID...",
		Short: "Print everything about containers or networks",
		Args:  atLeast(1, "at least one name or ID"),
		RunE: func(c *cobra.Command, args []string) error {
			finders := map[string][]inspector{
				"":          {env.inspectContainer, env.inspectNetwork},
				"container": {env.inspectContainer},
				"network":   {env.inspectNetwork},
			}[kind]
			if finders == nil {
				return fmt.Errorf("--type %q is neither container nor network", kind)
			}
			return env.inspect(c.Context(), format, args, "object", finders...)
		},
	}
	c.Flags().StringVarP(&format, "format", "f", "", "json, or a Go template")
	c.Flags().StringVar(&kind, "type", "", "container or network")
	return c
}

func newNetworkInspect(env *Env) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "inspect NETWORK...",
		Short: "Print everything about networks",
		Args:  atLeast(1, "at least one network"),
		RunE: func(c *cobra.Command, args []string) error {
			return env.inspect(c.Context(), format, args, "network", env.inspectNetwork)
		},
	}
	c.Flags().StringVarP(&format, "format", "f", "", "json, or a Go template")
	return c
}

// inspect prints what the first finder that knows a name says of it. What
// nobody knows is an error after the rest has been printed.
func (env *Env) inspect(ctx context.Context, format string, refs []string, what string, finders ...inspector) error {
	objects := []any{}
	var missing []string
	for _, ref := range refs {
		object, err := find(ctx, ref, finders)
		if err != nil {
			return err
		}
		if object == nil {
			missing = append(missing, ref)
			continue
		}
		objects = append(objects, object)
	}
	if err := cliformat.Objects(env.Stdout, format, objects); err != nil {
		return err
	}
	for _, ref := range missing {
		fmt.Fprintf(env.Stderr, "sluice: No such %s: %s\n", what, ref)
	}
	if len(missing) > 0 {
		return &codeError{code: exitError}
	}
	return nil
}

// find returns nil for what no finder knows.
func find(ctx context.Context, ref string, finders []inspector) (any, error) {
	for _, finder := range finders {
		object, err := finder(ctx, ref)
		var known *apierr.Error
		if errors.As(err, &known) && known.Status == 404 {
			continue
		}
		return object, err
	}
	return nil, nil
}
