package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/lab"
)

// self is the test binary, which containers run as a server.
func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// runServer starts a container with one of the test binary's servers and
// returns its ID.
func runServer(l *lab.Lab, name, program, addr string, flags ...string) string {
	l.Helper()
	args := append([]string{"run", "-d", "--name=" + name}, flags...)
	return l.OK(append(args, "--", self(l.T), program, addr)...)
}

// inspect returns what inspect says of a container.
func inspect(l *lab.Lab, name string) api.Container {
	l.Helper()
	var all []api.Container
	if err := json.Unmarshal([]byte(l.OK("inspect", name)), &all); err != nil {
		l.Fatal(err)
	}
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

const exchangeTimeout = 5 * time.Second

// greeting connects by TCP from a namespace and returns the server's first
// line: the address that it saw. It tries again until the server is up.
func greeting(n *lab.Namespace, addr string) string {
	var line string
	n.Eventually("connect to "+addr, func() (err error) {
		line, err = dialGreeting(n, addr)
		return err
	})
	return line
}

// dialGreeting is one attempt at greeting.
func dialGreeting(n *lab.Namespace, addr string) (line string, err error) {
	err = n.Do(func() error {
		conn, err := net.DialTimeout("tcp", addr, exchangeTimeout)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
			return err
		}
		line, err = bufio.NewReader(conn).ReadString('\n')
		return err
	})
	return strings.TrimSpace(line), err
}

// datagram sends one by UDP from a namespace and returns the echo server's
// answer: the address that it saw, and the message.
func datagram(n *lab.Namespace, addr, message string) string {
	var answer string
	n.Eventually("exchange a datagram with "+addr, func() (err error) {
		answer, err = exchange(n, addr, message)
		return err
	})
	return answer
}

func exchange(n *lab.Namespace, addr, message string) (answer string, err error) {
	err = n.Do(func() error {
		conn, err := net.Dial("udp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte(message)); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		buffer := make([]byte, 2048)
		size, err := conn.Read(buffer)
		answer = string(buffer[:size])
		return err
	})
	return answer, err
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

// expectRefused asserts that a TCP connection fails.
func expectRefused(n *lab.Namespace, t testing.TB, addr string) {
	t.Helper()
	err := n.Do(func() error {
		conn, err := net.DialTimeout("tcp", addr, 500*time.Millisecond)
		if err != nil {
			return nil
		}
		conn.Close()
		return fmt.Errorf("%s was reached", addr)
	})
	if err != nil {
		t.Error(err)
	}
}
