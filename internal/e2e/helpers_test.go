package e2e

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/lab"
)

// runServer starts a container with one of the test binary's servers and
// returns its ID.
func runServer(l *lab.Lab, name, program, addr string, flags ...string) string {
	l.Helper()
	args := append([]string{"run", "-d", "--name=" + name}, flags...)
	return l.OK(append(args, "--", selfPath, program, addr)...)
}

// jsonOf decodes what a verb prints.
func jsonOf[T any](l *lab.Lab, args ...string) (value T) {
	l.Helper()
	if err := json.Unmarshal([]byte(l.OK(args...)), &value); err != nil {
		l.Fatalf("%v: %v", args, err)
	}
	return value
}

// inspect returns what inspect says of a container.
func inspect(l *lab.Lab, name string) api.Container {
	l.Helper()
	all := jsonOf[[]api.Container](l, "inspect", name)
	if len(all) != 1 {
		l.Fatalf("inspect %s: %d objects", name, len(all))
	}
	return all[0]
}

// addressOf returns the address that a container has in a network.
func addressOf(l *lab.Lab, name, network string) string {
	l.Helper()
	settings := inspect(l, name).NetworkSettings.Networks[network]
	if settings == nil {
		l.Fatalf("%s is not in the network %s", name, network)
	}
	return settings.IPAddress
}

// greeting connects by TCP from a namespace and returns the server's first
// line: the address that it saw. It tries again until the server is up.
func greeting(n *lab.Namespace, addr string) string { return persist(n, "tcp-ask", addr) }

// datagram sends one by UDP from a namespace and returns the echo server's
// answer: the address that it saw, and the message.
func datagram(n *lab.Namespace, addr, message string) string {
	return persist(n, "udp-ask", addr, message)
}

// persist runs one of the test binary's clients until it succeeds.
func persist(n *lab.Namespace, program string, args ...string) (answer string) {
	n.Eventually(program+" "+args[0], func() error {
		r := ask(n, program, args...)
		if r.Code != 0 {
			return errors.New(r.Stderr)
		}
		answer = strings.TrimSuffix(r.Stdout, "\n")
		return nil
	})
	return answer
}

// ask runs one of the test binary's clients once, as a process of its own: the
// socket hook sees processes of the namespace's cgroup alone.
func ask(n *lab.Namespace, program string, args ...string) lab.Result {
	return n.Run(selfPath, append([]string{program}, args...)...)
}

// hostPart is the address of "address:port".
func hostPart(t testing.TB, hostport string) string {
	t.Helper()
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		t.Fatalf("%q is not address:port", hostport)
	}
	return host
}

// natRules returns `sluice nat` as objects.
func natRules(l *lab.Lab) []api.NATRule {
	l.Helper()
	var rules []api.NATRule
	for _, line := range strings.Split(l.OK("nat", "--format", "json"), "\n") {
		var rule api.NATRule
		if err := json.Unmarshal([]byte(line), &rule); err != nil {
			l.Fatalf("%q: %v", line, err)
		}
		rules = append(rules, rule)
	}
	return rules
}

// natRule returns the only rule of a kind for a container, or for a network.
func natRule(l *lab.Lab, kind, of string) api.NATRule {
	l.Helper()
	for _, rule := range natRules(l) {
		if rule.Kind == kind && (rule.Container == of || rule.Container == "" && rule.Network == of) {
			return rule
		}
	}
	l.Fatalf("no %s rule for %s", kind, of)
	return api.NATRule{}
}

// expectUnreached asserts that a TCP connection finds nobody.
func expectUnreached(t testing.TB, n *lab.Namespace, addr string) {
	t.Helper()
	if r := ask(n, "tcp-ask", addr); r.Code == 0 {
		t.Errorf("%s was reached: %s", addr, r.Stdout)
	}
}

// setSysctls writes settings "path below /proc/sys/net=value" of a namespace.
func setSysctls(n *lab.Namespace, settings ...string) {
	n.Must(func() error {
		for _, s := range settings {
			path, value, _ := strings.Cut(s, "=")
			if err := os.WriteFile(filepath.Join("/proc/sys/net", path), []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
}
