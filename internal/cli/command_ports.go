package cli

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
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
				return printPorts(env.Stdout, linesOf(ports))
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

// portLine says where one port of a container is published.
type portLine struct {
	port       int // of the container
	protocol   string
	host       string // address
	publicPort string // "" when it is still to be chosen
}

func linesOf(ports api.PortMap) []portLine {
	lines := make([]portLine, 0, len(ports))
	for key, bindings := range ports {
		number, protocol, _ := strings.Cut(key, "/")
		port, _ := strconv.Atoi(number)
		for _, b := range bindings {
			lines = append(lines, portLine{port, protocol, b.HostIP, b.HostPort})
		}
	}
	return lines
}

// linesOfRanges are those of ports that changed, of a range one for each port.
func linesOfRanges(ports []api.PortSummary) []portLine {
	var lines []portLine
	for _, p := range ports {
		last := max(p.PrivatePort, p.PrivatePortEnd)
		for port := int(p.PrivatePort); port <= int(last); port++ {
			public := ""
			switch {
			case p.PublicPort == 0:
			case last == p.PrivatePort:
				public = span(p.PublicPort, p.PublicPortEnd)
			default:
				public = strconv.Itoa(int(p.PublicPort) + port - int(p.PrivatePort))
			}
			lines = append(lines, portLine{port, p.Type, p.IP, public})
		}
	}
	return lines
}

func printPorts(w io.Writer, lines []portLine) error {
	slices.SortStableFunc(lines, func(a, b portLine) int {
		return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.protocol, b.protocol))
	})
	buffered := bufio.NewWriter(w)
	for _, l := range lines {
		fmt.Fprintf(buffered, "%d/%s -> %s\n", l.port, l.protocol, net.JoinHostPort(l.host, l.publicPort))
	}
	return buffered.Flush()
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
	return printPorts(env.Stdout, linesOfRanges(answer.Ports))
}
