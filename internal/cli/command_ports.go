package cli

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-net/sluice/internal/api"
)

func newPort(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "port CONTAINER [PORT[/PROTO]]",
		Short: "Print where a container's ports are published",
		Args:  atLeast(1, "a container"),
		RunE: func(c *cobra.Command, args []string) error {
			inspected, err := env.client().InspectContainer(c.Context(), args[0])
			if err != nil {
				return err
			}
			ports := inspected.NetworkSettings.Ports
			if len(args) == 1 {
				printPorts(env, ports)
				return nil
			}
			wanted := args[1]
			if !strings.Contains(wanted, "/") {
				wanted += "/tcp"
			}
			bindings := ports[wanted]
			if len(bindings) == 0 {
				return fmt.Errorf("no public port '%s' published for %s", wanted, args[0])
			}
			for _, b := range bindings {
				fmt.Fprintln(env.Stdout, net.JoinHostPort(b.HostIP, b.HostPort))
			}
			return nil
		},
	}
}

func printPorts(env *Env, ports api.PortMap) {
	keys := make([]string, 0, len(ports))
	for key := range ports {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(portNumber(a), portNumber(b)), cmp.Compare(a, b))
	})
	for _, key := range keys {
		for _, b := range ports[key] {
			fmt.Fprintf(env.Stdout, "%s -> %s\n", key, net.JoinHostPort(b.HostIP, b.HostPort))
		}
	}
}

func portNumber(key string) int {
	number, _, _ := strings.Cut(key, "/")
	n, _ := strconv.Atoi(number)
	return n
}

const portGrammar = "[IP:]HOST[-HOST]:CONTAINER[-CONTAINER][/tcp|udp]"

func newPublish(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "publish CONTAINER PORT...",
		Short: "Publish further ports of a container, which may run",
		Long:  "Publish further ports of a container, at once if it runs and with every start from now on.\nA PORT is " + portGrammar + ".",
		Args:  atLeast(2, "a container and at least one port"),
		RunE: func(c *cobra.Command, args []string) error {
			return changePorts(c.Context(), env, args, env.client().Publish)
		},
	}
}

func newUnpublish(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "unpublish CONTAINER PORT...",
		Short: "Withdraw ports of a container, which may run",
		Long:  "Withdraw ports of a container; connections through them end at once.\nA PORT is " + portGrammar + " as it was published,\nor CONTAINER[/tcp|udp] for every host port that leads there.",
		Args:  atLeast(2, "a container and at least one port"),
		RunE: func(c *cobra.Command, args []string) error {
			return changePorts(c.Context(), env, args, env.client().Unpublish)
		},
	}
}

func changePorts(ctx context.Context, env *Env, args []string,
	change func(context.Context, string, api.PublishPorts) (api.PublishPortsResponse, error),
) error {
	answer, err := change(ctx, args[0], api.PublishPorts{Ports: args[1:]})
	if err != nil {
		return runError(err)
	}
	printPorts(env, answer.Ports)
	return nil
}
