package e2e

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

// expectShared asserts that containers have one address and one MAC, inside and
// in inspect.
func expectShared(l *lab.Lab, address string, names ...string) {
	l.Helper()
	mac := inspect(l, names[0]).NetworkSettings.MacAddress
	for _, name := range names {
		if got := addressOf(l, name, "bridge"); got != address {
			l.Errorf("inspect: %s has %s, want %s", name, got, address)
		}
		if got := inspect(l, name).NetworkSettings.MacAddress; got != mac || mac == "" {
			l.Errorf("inspect: %s has the MAC %q, %s has %q", name, got, names[0], mac)
		}
		if got := l.OK("exec", name, "ip", "-br", "-4", "addr", "show", "dev", "eth0"); !strings.Contains(got, address+"/16") {
			l.Errorf("eth0 in %s: %s", name, got)
		}
		if got := l.OK("exec", name, "ip", "-br", "link", "show", "dev", "eth0"); !strings.Contains(got, mac) {
			l.Errorf("eth0 in %s: %s, want the MAC %s", name, got, mac)
		}
	}
}

func TestRow11ContainerNetwork(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	origin := l.OK("run", "-itd", "--name=origin", "-p", "8080:80")
	runServer(l, "other", "tcp-echo", ":80", "--net=container:origin")
	expectShared(l, "172.17.0.2", "origin", "other")
	if got := inspect(l, "other").HostConfig.NetworkMode; got != "container:"+origin {
		t.Errorf("NetworkMode: %s", got)
	}
	for _, path := range []string{"/etc/hosts", "/etc/resolv.conf", "/etc/hostname"} {
		if a, b := l.OK("exec", "origin", "cat", path), l.OK("exec", "other", "cat", path); a != b {
			t.Errorf("%s: %q in origin, %q in other", path, a, b)
		}
	}
	if got := l.OK("exec", "other", "hostname"); got != origin[:12] {
		t.Errorf("other is called %s", got)
	}
	if got := hostPart(t, greeting(l.Client, lab.HostAddr+":8080")); got != lab.ClientAddr {
		t.Errorf("the server in other saw %s", got)
	}
	conversation := newTalk(t, l.Client, lab.HostAddr+":8080")

	// The infrastructure ends: what the other uses of it stays.
	l.OK("stop", "-t", "0", "origin")
	conversation.say("without origin")
	greeting(l.Client, lab.HostAddr+":8080")
	l.OK("run", "-d", "--name=third") // must not get the address
	if got := addressOf(l, "third", "bridge"); got != "172.17.0.3" {
		t.Errorf("third has %s", got)
	}
	l.OK("start", "origin")
	conversation.say("with origin again")
	expectShared(l, "172.17.0.2", "origin", "other")

	// The member ends.
	l.OK("stop", "-t", "0", "other")
	expectUnreached(t, l.Client, lab.HostAddr+":8080")
	l.OK("start", "other")
	greeting(l.Client, lab.HostAddr+":8080")
	expectShared(l, "172.17.0.2", "origin", "other")

	// Both end: the address is free, and only origin can bring it back.
	l.OK("stop", "-t", "0", "other", "origin")
	l.OK("run", "-d", "--name=fourth")
	if got := addressOf(l, "fourth", "bridge"); got != "172.17.0.2" {
		t.Errorf("fourth has %s", got)
	}
	expectLine(t, "start", l.Sluice("start", "other"), 1, "cannot join network of a non running container: "+origin)
	expectLine(t, "run", l.Sluice("run", "--net=container:origin", "true"), 125, "cannot join network of a non running container: "+origin)
	l.OK("start", "origin", "other")
	expectShared(l, "172.17.0.4", "origin", "other")
	greeting(l.Client, lab.HostAddr+":8080")
}

// TestRow11DaemonDies kills the daemon while one of those who share is gone, and
// lets the others end while it is away.
func TestRow11DaemonDies(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	before := footprint(l)
	l.OK("run", "-d", "--name=origin", "-p", "8080:80")
	runServer(l, "other", "tcp-echo", ":80", "--net=container:origin")
	l.OK("run", "-d", "--name=chained", "--net=container:other")
	greeting(l.Client, lab.HostAddr+":8080")
	conversation := newTalk(t, l.Client, lab.HostAddr+":8080")
	again := func(what string) {
		l.StopDaemon(unix.SIGKILL)
		l.StartDaemon()
		conversation.say(what)
		greeting(l.Client, lab.HostAddr+":8080")
	}
	l.OK("kill", "origin")
	again("the owner ended before")
	expectShared(l, "172.17.0.2", "other", "chained")
	l.OK("start", "origin")
	expectShared(l, "172.17.0.2", "origin", "other", "chained")

	pid := inspect(l, "origin").State.Pid
	l.StopDaemon(unix.SIGKILL)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.StartDaemon()
	conversation.say("the owner ended meanwhile")
	if got := inspect(l, "origin").State.Status; got != "exited" {
		t.Errorf("origin is %s", got)
	}
	l.OK("rm", "origin")
	again("the owner was removed")
	if got := l.OK("exec", "chained", "cat", "/etc/hosts"); !strings.Contains(got, "172.17.0.2\t") {
		t.Errorf("hosts without the owner: %s", got)
	}
	l.OK("kill", "chained")
	l.OK("start", "chained")
	expectShared(l, "172.17.0.2", "other", "chained")

	l.OK("rm", "-f", "chained", "other")
	l.OK("run", "-d", "--name=next")
	if got := addressOf(l, "next", "bridge"); got != "172.17.0.2" {
		t.Errorf("the address was not given back: next has %s", got)
	}
	l.OK("rm", "-f", "next")
	expectFootprint(l, before)
}

// TestRow11Removal covers the verbs that take one of those who share away.
func TestRow11Removal(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("network", "create", "--subnet=172.20.0.0/16", "custom")
	before := footprint(l)
	l.OK("run", "-d", "--rm", "--name=origin", "--net=custom", "-p", "8080:80")
	runServer(l, "other", "tcp-echo", ":80", "--net=container:origin")
	greeting(l.Client, lab.HostAddr+":8080")
	l.OK("kill", "origin")
	if r := l.Sluice("inspect", "origin"); r.Code == 0 {
		t.Error("--rm did not remove origin")
	}
	greeting(l.Client, lab.HostAddr+":8080")
	if rule := natRule(l, "publish", "other"); rule.Ports != "8080" {
		t.Errorf("the rule of what is left of origin: %+v", rule)
	}
	l.OK("run", "-d", "--name=origin", "--net=custom") // the name is free, the address is not
	if got := addressOf(l, "origin", "custom"); got != "172.20.0.3" {
		t.Errorf("the new origin has %s", got)
	}
	l.OK("rm", "-f", "origin")
	expectLine(t, "network rm", l.Sluice("network", "rm", "custom"), 1, "active endpoints")
	l.OK("rm", "-f", "other")
	expectUnreached(t, l.Client, lab.HostAddr+":8080")
	expectFootprint(l, before)

	l.OK("run", "-d", "--name=origin", "--net=custom", "-p", "8080:80")
	runServer(l, "other", "tcp-echo", ":80", "--net=container:"+l.OK("ps", "-q"))
	l.OK("publish", "other", "8081:80")
	greeting(l.Client, lab.HostAddr+":8081")
	if got := l.OK("port", "other"); got != l.OK("port", "origin") || !strings.Contains(got, "8081") {
		t.Errorf("ports of other: %s", got)
	}
	l.OK("stop", "-t", "0", "origin")
	l.OK("unpublish", "origin", "8081:80") // its process is gone, its ports are in force
	expectUnreached(t, l.Client, lab.HostAddr+":8081")
	l.OK("rm", "-f", "other")
	expectUnreached(t, l.Client, lab.HostAddr+":8080")
	l.OK("start", "origin")
	if got := l.OK("port", "origin"); got != "80/tcp -> 0.0.0.0:8080" {
		t.Errorf("ports after all ended: %s", got)
	}
	l.OK("rm", "-f", "origin")
	expectFootprint(l, before)
}

// TestRow11OtherModes joins containers that have no network of their own.
func TestRow11OtherModes(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("run", "-d", "--name=none", "--net=none")
	if got := l.OK("run", "--rm", "--net=container:none", "ip", "-br", "link"); !strings.HasPrefix(got, "lo ") || strings.Contains(got, "\n") {
		t.Errorf("links: %s", got)
	}
	l.OK("run", "-d", "--name=host", "--net=host")
	if got := l.OK("run", "--rm", "--net=container:host", "ip", "-br", "-4", "addr"); !strings.Contains(got, lab.HostAddr) {
		t.Errorf("addresses: %s", got)
	}
	l.OK("kill", "host")
	expectLine(t, "host", l.Sluice("run", "--net=container:host", "true"), 125, "non running container")
}
