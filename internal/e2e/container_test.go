package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/lab"
)

func TestNamespacesOfTheirOwn(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("run", "-d", "--name=net00")
	for _, kind := range []string{"net", "mnt", "uts", "pid", "ipc"} {
		inside := l.OK("exec", "net00", "readlink", "/proc/self/ns/"+kind)
		if outside := l.Host.Output("readlink", "/proc/self/ns/"+kind); inside == outside {
			t.Errorf("%s: the container is in the host's namespace", kind)
		}
	}
	if got := l.OK("run", "--rm", "sh", "-c", "echo $$; ls -d /proc/[0-9]* | wc -l"); strings.Fields(got)[0] != "1" || strings.Fields(got)[1] > "3" {
		t.Errorf("PID and number of processes inside: %q", got)
	}
	l.OK("run", "-d", "--name=host00", "--net=host")
	if l.OK("exec", "host00", "readlink", "/proc/self/ns/net") != l.Host.Output("readlink", "/proc/self/ns/net") {
		t.Error("--net=host: another network namespace")
	}
}

func TestOwnFiles(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	id := l.OK("run", "-d", "--name=net00", "--add-host=other:192.0.2.77", "--dns=192.0.2.53")
	short := id[:12]
	for file, want := range map[string]string{
		"/etc/hostname":                 short + "\n",
		"/etc/hosts":                    "127.0.0.1\tlocalhost\n",
		"/etc/hosts, itself":            "172.17.0.2\t" + short + "\n",
		"/etc/hosts, added":             "192.0.2.77\tother\n",
		"/etc/resolv.conf":              "nameserver 192.0.2.53\n",
		"/proc/sys/kernel/hostname":     short + "\n",
		"/proc/sys/net/ipv4/ip_forward": "0\n",
	} {
		path, _, _ := strings.Cut(file, ",")
		if got := l.OK("exec", "net00", "cat", path) + "\n"; !strings.Contains(got, want) {
			t.Errorf("%s: %q has no %q", file, got, want)
		}
	}
	if got := l.OK("run", "--rm", "--hostname=box", "sh", "-c", "hostname; tail -n 1 /etc/hosts; cat /etc/hostname"); got != "box\n172.17.0.3\tbox\nbox" {
		t.Errorf("--hostname: %q", got)
	}
	if got := l.OK("run", "--rm", "-e", "A=1", "-e", "A=2", "-w", "/usr", "sh", "-c", "pwd; echo $A"); got != "/usr\n2" {
		t.Errorf("-e and -w: %q", got)
	}
}

// capabilities of Docker's default set (moby's oci/caps/defaults.go).
const defaultCapabilities = "00000000a80425fb"

func TestCapabilities(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	all := strings.TrimSpace(strings.TrimPrefix(l.Host.Output("grep", "CapBnd", "/proc/self/status"), "CapBnd:"))
	for _, test := range []struct{ flags, want string }{
		{"", defaultCapabilities},
		{"--cap-drop=ALL", "0000000000000000"},
		{"--cap-drop=all --cap-add=NET_ADMIN", "0000000000001000"},
		{"--cap-add=CAP_NET_ADMIN", "00000000a80435fb"},
		{"--cap-drop=net_raw", "00000000a80405fb"},
		{"--privileged", all},
	} {
		args := append([]string{"run", "--rm"}, strings.Fields(test.flags)...)
		got := l.OK(append(args, "grep", "^Cap[EPB]", "/proc/self/status")...)
		if strings.Count(got, test.want) != 3 {
			t.Errorf("%q: want %s, got\n%s", test.flags, test.want, got)
		}
	}
	l.OK("run", "-d", "--name=net00")
	if r := l.Sluice("exec", "net00", "ip", "link", "set", "eth0", "down"); r.Code == 0 {
		t.Error("a container without CAP_NET_ADMIN changed its device")
	}
	l.OK("exec", "--privileged", "net00", "ip", "link", "set", "eth0", "mtu", "1400")
}

func TestRootfs(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.Host.Output("cp", "/bin/busybox", filepath.Join(root, "bin", "busybox"))
	script := "busybox ls /; busybox cat /etc/hosts; busybox ip -o addr"
	got := l.OK("run", "--rm", "--rootfs="+root, "/bin/busybox", "sh", "-c", script)
	for _, want := range []string{"bin\n", "172.17.0.2\t", "172.17.0.2/16"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "home") {
		t.Errorf("the host's files are there:\n%s", got)
	}
	for _, root := range []string{"/", "//."} {
		got := l.OK("run", "--rm", "--rootfs="+root, "--", "sh", "-c", "ls -d /home && hostname && tail -1 /etc/hosts")
		if !strings.HasPrefix(got, "/home\n") || strings.Count(got, strings.Split(got, "\n")[1]) != 2 {
			t.Errorf("--rootfs=%s is not the host's files with the container's own:\n%s", root, got)
		}
	}
}

// TestStartBringsBack covers a container that ends and is started again: its
// name and ports are its own all the time, its address only while it runs.
func TestStartBringsBack(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	id := runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	greeting(l.Client, lab.HostAddr+":8080")
	sandbox := inspect(l, "net00").NetworkSettings.SandboxKey
	l.OK("stop", "net00")
	expectUnreached(t, l.Client, lab.HostAddr+":8080")
	if _, err := os.Stat(sandbox); !os.IsNotExist(err) {
		t.Errorf("the network namespace is still there: %v", err)
	}
	if got := l.OK("run", "-d", "--name=between"); addressOf(l, got, "bridge") != "172.17.0.2" {
		t.Errorf("the address was not given back: %s", addressOf(l, got, "bridge"))
	}
	l.OK("start", "net00")
	if got := inspect(l, "net00"); got.ID != id || got.NetworkSettings.Networks["bridge"].IPAddress != "172.17.0.3" {
		t.Errorf("after start: %s has %s", got.ID, got.NetworkSettings.Networks["bridge"].IPAddress)
	}
	if got := greeting(l.Client, lab.HostAddr+":8080"); hostPart(t, got) != lab.ClientAddr {
		t.Errorf("the server saw %s", got)
	}
	l.OK("start", "net00") // runs already: no error, as Docker
}

func TestCreateThenStart(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("create", "--name=net00", "-p", "8080:80", "--", selfPath, "tcp-echo", ":80")
	if got := l.OK("ps", "-a", "--format", "{{.Names}} {{.Status}}"); got != "net00 Created" {
		t.Errorf("ps: %s", got)
	}
	l.OK("start", "net00")
	greeting(l.Client, lab.HostAddr+":8080")
	l.OK("kill", "net00")
	if got := inspect(l, "net00").State; got.ExitCode != 137 || got.Status != "exited" {
		t.Errorf("after kill: %+v", got)
	}
	l.OK("rm", "net00")
	if got := l.OK("ps", "-aq"); got != "" {
		t.Errorf("after rm: %s", got)
	}
}

func TestStopKillsTheStubborn(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("run", "-d", "--name=net00", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
	l.OK("stop", "-t", "1", "net00")
	if got := inspect(l, "net00").State.ExitCode; got != 137 {
		t.Errorf("exit code %d", got)
	}
}

// TestReferences covers names, IDs and their beginnings.
func TestReferences(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	id := l.OK("run", "-d", "--name=net00")
	for _, ref := range []string{"net00", "/net00", id, id[:12], id[:6]} {
		if got := l.OK("inspect", "--format", "{{.Id}}", ref); got != id {
			t.Errorf("%s: %s", ref, got)
		}
	}
	name := l.OK("inspect", "--format", "{{.Name}}", l.OK("run", "-d"))
	if len(name) < 4 || name[0] != '/' {
		t.Errorf("a container that nobody named is called %q", name)
	}
	if got := l.OK("ps", "-q"); len(strings.Fields(got)) != 2 || len(strings.Fields(got)[0]) != 12 {
		t.Errorf("ps -q: %q", got)
	}
	if got := l.OK("ps", "--no-trunc", "--format", "{{.ID}}"); !strings.Contains(got, id) {
		t.Errorf("ps --no-trunc: %q", got)
	}
	if got := l.OK("ps", "--format", "json"); strings.Count(got, "\n") != 1 || !strings.Contains(got, fmt.Sprintf("%q", id[:12])) {
		t.Errorf("ps --format json: %q", got)
	}
}

// TestFailedStartKeepsTheExitCode covers a container that ended by itself and
// cannot come back: how it ended is still to be read.
func TestFailedStartKeepsTheExitCode(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("run", "-d", "--name=net00", "-p", "8080:80", "sh", "-c", "exit 5")
	l.OK("wait", "net00")
	l.OK("run", "-d", "--name=net01", "-p", "8080:80")
	if r := l.Sluice("start", "net00"); r.Code != 1 || !strings.Contains(r.Stderr, "8080") {
		t.Errorf("start: %+v", r)
	}
	if got := inspect(l, "net00").State; got.ExitCode != 5 || got.Status != "exited" || !strings.Contains(got.Error, "8080") {
		t.Errorf("%+v", got)
	}
}

func TestNetworkFilters(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	id := l.OK("network", "create", "custom")
	for flags, want := range map[string]string{
		"":                                "bridge,custom,host,none",
		"-f name=cust":                    "custom",
		"-f driver=bridge":                "bridge,custom",
		"-f driver=bridge -f name=host":   "",
		"-f name=host --filter name=none": "host,none",
		"--filter driver=null --filter driver=host": "host,none",
		"-f id=" + id[:6]: "custom",
	} {
		args := append([]string{"network", "ls", "--format", "{{.Name}}"}, strings.Fields(flags)...)
		if got := strings.ReplaceAll(l.OK(args...), "\n", ","); got != want {
			t.Errorf("%s: %q, want %q", flags, got, want)
		}
	}
	expectBad(l, []badInput{{"network ls --filter label=x", 1, "driver="}})
}
