package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

// hostsOf returns the lines of a container's /etc/hosts.
func hostsOf(l *lab.Lab, name string) []string {
	l.Helper()
	return strings.Split(l.OK("exec", name, "cat", "/etc/hosts"), "\n")
}

// expectHosts asserts that a container's /etc/hosts has a line, and no other
// that says something of the same names.
func expectHosts(l *lab.Lab, name, address, names string) {
	l.Helper()
	lines := slices.DeleteFunc(hostsOf(l, name), func(line string) bool { return !strings.HasSuffix(line, "\t"+names) })
	want := []string{address + "\t" + names}
	if address == "" {
		want = nil
	}
	if !slices.Equal(lines, want) {
		l.Errorf("/etc/hosts of %s says %q of %q, want %q", name, lines, names, want)
	}
}

func TestRow12Link(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	db := l.OK("run", "-itd", "--name=db00")[:12]
	web := l.OK("create", "-it", "--name=shown", "--link=db00", "cat", "/etc/hosts")[:12]
	l.OK("start", "shown")
	l.OK("wait", "shown")
	shown := strings.Split(l.OK("logs", "shown"), "\n")
	for _, line := range []string{"172.17.0.2\tdb00 " + db, "172.17.0.3\t" + web} {
		if !slices.Contains(shown, line) {
			t.Errorf("%q is not in %q", line, shown)
		}
	}

	web = runServer(l, "web00", "tcp-echo", ":80", "--link=db00:db")[:12]
	names := "db " + db + " db00"
	expectHosts(l, "web00", "172.17.0.2", names)
	expectHosts(l, "web00", "172.17.0.3", web)
	if got := inspect(l, "web00").HostConfig.Links; !slices.Equal(got, []string{"/db00:/web00/db"}) {
		t.Errorf("HostConfig.Links: %q", got)
	}
	l.OK("exec", "web00", "busybox", "ping", "-c", "1", "-W", "5", "db")

	// Its address changes while the other runs and has the file open.
	l.OK("exec", "web00", "sh", "-c", "echo '192.0.2.9\tmine' >>/etc/hosts")
	l.OK("stop", "-t", "0", "db00")
	expectHosts(l, "web00", "", names)
	l.OK("run", "-d", "--name=taker")
	l.OK("start", "db00")
	expectHosts(l, "web00", "172.17.0.4", names)
	expectHosts(l, "web00", "192.0.2.9", "mine")
	expectHosts(l, "db00", "172.17.0.4", db)
	l.OK("exec", "web00", "busybox", "ping", "-c", "1", "-W", "5", "db00")

	// And while the daemon is away.
	pid := inspect(l, "db00").State.Pid
	l.StopDaemon(unix.SIGKILL)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.StartDaemon()
	expectHosts(l, "web00", "", names)
	expectLine(t, "start", l.Sluice("run", "--link=db00:db", "true"), 125, "Cannot link to a non running container: /db00 AS /")
	l.OK("rm", "-f", "taker")
	l.OK("start", "db00")
	expectHosts(l, "web00", "172.17.0.2", names)

	// The own line follows too.
	l.OK("stop", "-t", "0", "web00")
	l.OK("run", "-d", "--name=taker")
	l.OK("start", "web00")
	expectHosts(l, "web00", "172.17.0.4", web)
	expectHosts(l, "web00", "172.17.0.2", names)
	l.OK("rm", "-f", "db00")
	if got := inspect(l, "web00").HostConfig.Links; len(got) != 0 {
		t.Errorf("HostConfig.Links to a container that was removed: %q", got)
	}
}

// TestRow12LinkToSharedSandbox links to a container that has joined another: the
// address stays while either runs.
func TestRow12LinkToSharedSandbox(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	origin := l.OK("run", "-d", "--name=origin")[:12]
	l.OK("run", "-d", "--name=db00", "--net=container:origin")
	l.OK("run", "-d", "--name=web00", "--link=db00:db")
	expectHosts(l, "web00", "172.17.0.2", fmt.Sprintf("db %s db00", origin))
	l.OK("kill", "origin")
	expectHosts(l, "web00", "172.17.0.2", fmt.Sprintf("db %s db00", origin))
	l.OK("start", "origin")
	l.OK("kill", "db00")
	expectHosts(l, "web00", "172.17.0.2", fmt.Sprintf("db %s db00", origin))
	l.OK("rm", "db00")
	expectHosts(l, "web00", "", fmt.Sprintf("db %s db00", origin))
}

// TestRow12Variables looks at the environment that Docker's links have.
func TestRow12Variables(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("run", "-d", "--name=db00", "-e", "MODE=fast", "-p", "5432:5432")
	l.OK("run", "-d", "--name=web00", "--link=db00:db")
	env := strings.Split(l.OK("exec", "web00", "env"), "\n")
	for _, want := range []string{
		"DB_PORT=tcp://172.17.0.2:5432", "DB_PORT_5432_TCP_ADDR=172.17.0.2", "DB_PORT_5432_TCP_PORT=5432", "DB_NAME=/web00/db", "DB_ENV_MODE=fast",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is not in %q", want, env)
		}
	}
}

// TestRow12PrivateAlias links in a network that the user made, where the other
// container may come later.
func TestRow12PrivateAlias(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("network", "create", "--subnet=172.20.0.0/16", "custom")
	db := l.OK("create", "--name=db00", "--net=custom")[:12]
	l.OK("run", "-d", "--name=web00", "--net=custom", "--link=db00:db")
	names := "db " + db + " db00"
	expectHosts(l, "web00", "", names)
	l.OK("start", "db00")
	expectHosts(l, "web00", "172.20.0.3", names)
	l.OK("exec", "web00", "busybox", "ping", "-c", "1", "-W", "5", "db")
	got := inspect(l, "web00")
	if links := got.NetworkSettings.Networks["custom"].Links; !slices.Equal(links, []string{"db00:db"}) || len(got.HostConfig.Links) > 0 {
		t.Errorf("Links: %q in the network, %q in HostConfig", links, got.HostConfig.Links)
	}
}
