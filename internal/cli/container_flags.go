package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/sluice-net/sluice/internal/api"
)

// containerOptions are the flags of run and create.
type containerOptions struct {
	name, hostname, network, workdir, ip, ip6, rootfs string
	publish, env, envFiles, hosts, dns                []string
	capAdd, capDrop, aliases, links                   []string
	remove, interactive, tty, privileged              bool
}

func (o *containerOptions) addFlags(f *pflag.FlagSet) {
	// What follows the first argument belongs to the command.
	f.SetInterspersed(false)
	f.StringVar(&o.name, "name", "", "name of the container")
	f.StringVarP(&o.hostname, "hostname", "h", "", "host name inside; the short ID by default")
	f.StringVar(&o.network, "network", "bridge", "network to join: a name or ID, host, none, or container:NAME for that of another container")
	f.StringArrayVar(&o.aliases, "network-alias", nil, "name in the network that containers can share: connections to it go to them in turn")
	f.StringVarP(&o.workdir, "workdir", "w", "", "working directory inside")
	f.StringVar(&o.ip, "ip", "", "IPv4 address in the network; the lowest free one by default")
	f.StringVar(&o.ip6, "ip6", "", "IPv6 address in a network that has IPv6; the lowest free one by default")
	f.StringVar(&o.rootfs, "rootfs", "", "directory with the container's files; the host's by default")
	f.StringArrayVarP(&o.publish, "publish", "p", nil, "publish a port: [IP:]HOST[-HOST]:CONTAINER[-CONTAINER][/tcp|udp]")
	f.StringArrayVarP(&o.env, "env", "e", nil, "set a variable: NAME=VALUE, or NAME to pass on")
	f.StringArrayVar(&o.envFiles, "env-file", nil, "read variables from a file")
	f.StringArrayVar(&o.hosts, "add-host", nil, "add a line to /etc/hosts: NAME:IP")
	f.StringArrayVar(&o.links, "link", nil, "name another container in /etc/hosts: NAME[:ALIAS]")
	f.StringArrayVar(&o.dns, "dns", nil, "name server")
	f.StringArrayVar(&o.capAdd, "cap-add", nil, "add a capability")
	f.StringArrayVar(&o.capDrop, "cap-drop", nil, "drop a capability")
	f.BoolVar(&o.remove, "rm", false, "remove the container when it ends")
	f.BoolVarP(&o.interactive, "interactive", "i", false, "keep standard input open")
	f.BoolVarP(&o.tty, "tty", "t", false, "accepted; there are no terminals yet")
	f.BoolVar(&o.privileged, "privileged", false, "keep every capability")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name {
		case "net":
			name = "network"
		case "net-alias":
			name = "network-alias"
		}
		return pflag.NormalizedName(name)
	})
	f.Bool("help", false, "help for this command") // without it cobra would take -h
}

// body is the request to create the container.
func (o *containerOptions) body(env *Env, cmd []string) (api.CreateContainer, error) {
	variables, err := environment(env, o.envFiles, o.env)
	if err != nil {
		return api.CreateContainer{}, err
	}
	rootfs := o.rootfs
	if rootfs != "" {
		if rootfs, err = filepath.Abs(rootfs); err != nil {
			return api.CreateContainer{}, err
		}
	}
	if err := requireUTF8(slices.Concat(cmd, variables, []string{o.workdir, rootfs})...); err != nil {
		return api.CreateContainer{}, err
	}
	return api.CreateContainer{
		Name:        o.name,
		Hostname:    o.hostname,
		Cmd:         cmd,
		Env:         variables,
		WorkingDir:  o.workdir,
		OpenStdin:   o.interactive,
		Tty:         o.tty,
		IPAddress:   o.ip,
		IPv6Address: o.ip6,
		Aliases:     o.aliases,
		HostConfig: api.HostConfig{
			NetworkMode: o.network,
			Publish:     o.publish,
			AutoRemove:  o.remove,
			Privileged:  o.privileged,
			CapAdd:      o.capAdd,
			CapDrop:     o.capDrop,
			Rootfs:      rootfs,
			ExtraHosts:  o.hosts,
			Links:       o.links,
			DNS:         o.dns,
		},
	}, nil
}

// environment reads files first, so that flags win. A name alone takes the
// client's value, if it has one.
func environment(env *Env, files, flags []string) ([]string, error) {
	var wishes []string
	for _, path := range files {
		lines, err := readLines(path)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		wishes = append(wishes, lines...)
	}
	variables := []string{}
	for _, wish := range append(wishes, flags...) {
		name, _, assigned := strings.Cut(wish, "=")
		if name == "" {
			return nil, fmt.Errorf("invalid environment variable: %q", wish)
		}
		if assigned {
			variables = append(variables, wish)
		} else if value, ok := env.LookupEnv(name); ok {
			variables = append(variables, name+"="+value)
		}
	}
	return variables, nil
}

// readLines returns a file's lines without empty ones and comments. As Docker
// has it, what is before them goes, and spaces behind them are of the value.
func readLines(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line = strings.TrimLeftFunc(line, unicode.IsSpace); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// requireUTF8 refuses what the API, whose texts are JSON, would make another text of.
func requireUTF8(texts ...string) error {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%q is no UTF-8, which commands, variables and paths must be", text)
		}
	}
	return nil
}
