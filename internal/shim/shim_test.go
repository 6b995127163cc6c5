package shim_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/companion"
	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/internal/shim"
)

// patience bounds what a test waits for: a busy machine takes its time.
const patience = 30 * time.Second

var binary string

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		println("these tests need root: they make namespaces")
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "sluice-shim-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, companion.Shim)
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/sluice-net/sluice/cmd/sluice-shim").CombinedOutput(); err != nil {
		println(string(out))
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var defaultEnv = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}

// launch starts a shim and connects to it. The command ends with the test.
func launch(t *testing.T, config shim.Config) (*shim.Conn, string) {
	t.Helper()
	if config.Env == nil {
		config.Env = defaultEnv
	}
	if config.Capabilities == 0 {
		config.Capabilities, _ = shim.Capabilities(nil, nil, false)
	}
	dir := filepath.Join(t.TempDir(), "s")
	t.Cleanup(func() { // the shim may still be writing about its end
		if err := shim.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	if err := shim.Launch(binary, dir, config); err != nil {
		t.Fatal(err)
	}
	return dial(t, dir), dir
}

func dial(t *testing.T, dir string) *shim.Conn {
	t.Helper()
	conn, err := shim.Dial(shim.Socket(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Signal(syscall.SIGKILL)
		_ = conn.Close()
	})
	return conn
}

// run runs a command to its end and returns what it said.
func run(t *testing.T, config shim.Config) (stdout, stderr string, code int) {
	t.Helper()
	conn, _ := launch(t, config)
	var out, errOut bytes.Buffer
	code, err := conn.Attach(nil, &out, &errOut)
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), code
}

func sh(script string) []string { return []string{"sh", "-c", script} }

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -KILL $$": 0, "exec sh -c 'kill -9 $PPID; exit 3'": 3} {
		// PID 1 of a namespace is deaf to signals from inside.
		if script == "kill -KILL $$" {
			script = "kill -KILL $$; exit 0"
		}
		if _, _, code := run(t, shim.Config{Args: sh(script)}); code != want {
			t.Errorf("%q: exit code %d, want %d", script, code, want)
		}
	}
}

// TestIgnoredSignals covers a daemon that was started by nohup, or in the
// background by a script: commands have no signal ignored, wherever they begin.
func TestIgnoredSignals(t *testing.T) {
	ignored := []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE}
	signal.Ignore(ignored...)
	defer signal.Reset(ignored...)
	conn, _ := launch(t, shim.Config{Args: []string{"sleep", "1000"}})
	pid, err := conn.Start()
	if err != nil {
		t.Fatal(err)
	}
	for what, config := range map[string]shim.Config{"the first": {}, "a further": {Target: pid}} {
		config.Args = []string{"grep", "SigIgn", "/proc/self/status"}
		out, _, code := run(t, config)
		if mask, err := lab.IgnoredSignals(out); code != 0 || err != nil || mask != 0 {
			t.Errorf("%s command: signals %#x are ignored (%v), exit code %d", what, mask, err, code)
		}
	}
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		config shim.Config
		code   int
		says   string
	}{
		{shim.Config{Args: []string{"no-such-command"}}, 127, `exec: "no-such-command": executable file not found in $PATH`},
		{shim.Config{Args: []string{"/no/such/file"}}, 127, "no such file"},
		{shim.Config{Args: []string{plain}}, 126, "permission denied"},
		{shim.Config{Args: []string{"/etc"}}, 126, "is a directory"},
		{shim.Config{Args: []string{"true"}, Dir: "/no/such/dir"}, 127, "working directory"},
		{shim.Config{Args: []string{"true"}, NetNS: "/no/such/ns"}, 125, "/no/such/ns"},
		{shim.Config{Args: []string{"true"}, Rootfs: "/no/such/root"}, 125, "/no/such/root"},
	}
	for _, test := range tests {
		conn, dir := launch(t, test.config)
		_, err := conn.Start()
		var start *shim.StartError
		if !errors.As(err, &start) || start.Code != test.code || !strings.Contains(start.Message, test.says) {
			t.Errorf("%v: %v, want code %d and %q", test.config.Args, err, test.code, test.says)
		}
		expectExit(t, dir, test.code)
	}
}

func expectExit(t *testing.T, dir string, code int) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		exit, err := shim.ReadExit(dir)
		if err == nil {
			if exit.Code != code {
				t.Errorf("the exit file says %d, want %d", exit.Code, code)
			}
			return
		}
	}
	t.Error("no exit file")
}

func TestStreamsCarryEveryByte(t *testing.T) {
	t.Parallel()
	input := make([]byte, 10<<20)
	source := rand.NewChaCha8([32]byte{1})
	if _, err := source.Read(input); err != nil {
		t.Fatal(err)
	}
	conn, _ := launch(t, shim.Config{Args: []string{"cat"}, OpenStdin: true})
	var out bytes.Buffer
	code, err := conn.Attach(bytes.NewReader(input), &out, &out)
	if err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	if sha256.Sum256(out.Bytes()) != sha256.Sum256(input) {
		t.Errorf("%d bytes went in, %d others came out", len(input), out.Len())
	}
}

func TestStandardInputIsEmptyUnlessAsked(t *testing.T) {
	t.Parallel()
	if out, _, code := run(t, shim.Config{Args: []string{"cat"}}); out != "" || code != 0 {
		t.Errorf("cat said %q, exit code %d", out, code)
	}
}

func TestSignalsAndPause(t *testing.T) {
	t.Parallel()
	conn, dir := launch(t, shim.Config{})
	pid, err := conn.Start()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("PID %d: %v", pid, err)
	}
	late := dial(t, dir)
	if got, err := late.Started(); err != nil || got != pid {
		t.Errorf("a later client is told PID %d, %v", got, err)
	}
	if err := conn.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*shim.Conn{conn, late} {
		if code, err := c.Wait(); code != 0 || err != nil {
			t.Errorf("exit code %d, %v", code, err)
		}
	}
	conn, dir = launch(t, shim.Config{Args: []string{"sleep", "1000"}})
	if _, err := conn.Start(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code, err := conn.Wait(); code != 137 || err != nil {
		t.Errorf("killed: exit code %d, %v", code, err)
	}
	expectExit(t, dir, 137)
}

func TestOwnNamespacesAndFiles(t *testing.T) {
	t.Parallel()
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("192.0.2.77 marker\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, _, _ := run(t, shim.Config{
		Args: sh("hostname; echo $$; cat /etc/hosts; ls /proc/self/fd; ls -d /proc/[0-9]* | wc -l"), Hostname: "inside", Hosts: hosts,
	})
	lines := strings.Split(strings.TrimSpace(out), "\n")
	want := []string{"inside", "1", "192.0.2.77 marker", "0", "1", "2", "3"} // 3: ls's own
	for i, line := range want {
		if i >= len(lines) || lines[i] != line {
			t.Fatalf("line %d of %q, want %q", i, lines, line)
		}
	}
	if n, _ := strconv.Atoi(lines[len(lines)-1]); n > 4 {
		t.Errorf("%d processes are visible inside", n)
	}
	if raw, _ := os.ReadFile("/etc/hosts"); strings.Contains(string(raw), "marker") {
		t.Error("the host's own /etc/hosts changed")
	}
}

// capabilitiesOf returns the effective set that a container's command has.
func capabilitiesOf(t *testing.T, mask uint64, target int) uint64 {
	t.Helper()
	out, _, _ := run(t, shim.Config{Args: sh("grep -E 'CapEff|CapBnd' /proc/self/status"), Capabilities: mask, Target: target})
	fields := strings.Fields(out)
	if len(fields) != 4 || fields[1] != fields[3] {
		t.Fatalf("bounding and effective set differ: %q", out)
	}
	got, err := strconv.ParseUint(fields[1], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCapabilitySets(t *testing.T) {
	t.Parallel()
	tests := []struct {
		add, drop  []string
		privileged bool
		want       uint64
	}{
		{nil, nil, false, 0xa80425fb}, // Docker's
		{[]string{"net_admin"}, nil, false, 0xa80435fb},
		{nil, []string{"CAP_MKNOD"}, false, 0xa00425fb},
		{[]string{"NET_ADMIN"}, []string{"ALL"}, false, 1 << 12},
		{[]string{"ALL"}, []string{"NET_RAW"}, false, 1<<41 - 1 - 1<<13},
		{nil, nil, true, 1<<41 - 1},
	}
	for _, test := range tests {
		got, err := shim.Capabilities(test.add, test.drop, test.privileged)
		if err != nil || got != test.want {
			t.Errorf("add %v drop %v privileged %v: %x, %v, want %x", test.add, test.drop, test.privileged, got, err, test.want)
		}
	}
	if _, err := shim.Capabilities([]string{"FLY"}, nil, false); err == nil || !strings.Contains(err.Error(), "FLY") {
		t.Errorf("an unknown capability: %v", err)
	}
	if got := capabilitiesOf(t, 0xa80425fb, 0); got != 0xa80425fb {
		t.Errorf("the command has %x", got)
	}
}

func TestFurtherProcess(t *testing.T) {
	t.Parallel()
	conn, _ := launch(t, shim.Config{Hostname: "first"})
	pid, err := conn.Start()
	if err != nil {
		t.Fatal(err)
	}
	out, errOut, code := run(t, shim.Config{Args: sh("hostname; ls -d /proc/[0-9]* | wc -l; exit 5"), Target: pid})
	if !strings.HasPrefix(out, "first\n") || code != 5 {
		t.Errorf("exec said %q %q, exit code %d", out, errOut, code)
	}
	if got := capabilitiesOf(t, 1<<0, pid); got != 1 {
		t.Errorf("exec has the capabilities %x", got)
	}
	second, _ := launch(t, shim.Config{Args: []string{"no-such-command"}, Target: pid})
	_, err = second.Start()
	var start *shim.StartError
	if !errors.As(err, &start) || start.Code != 127 {
		t.Errorf("exec of nothing: %v", err)
	}
}

func TestBackgroundHolderDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	conn, _ := launch(t, shim.Config{})
	pid, err := conn.Start()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	out, _, code := run(t, shim.Config{Args: sh("echo done; sleep 1000 &"), Target: pid})
	if out != "done\n" || code != 0 || time.Since(begin) > patience {
		t.Errorf("%q, exit code %d after %v", out, code, time.Since(begin))
	}
}

func TestKilledShimLeavesNoOrphan(t *testing.T) {
	t.Parallel()
	conn, dir := launch(t, shim.Config{Args: []string{"sleep", "1000"}})
	pid, err := conn.Start()
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	parent, err := strconv.Atoi(strings.Fields(string(status))[3])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(parent, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Wait(); !errors.Is(err, shim.ErrGone) {
		t.Errorf("the client was told %v", err)
	}
	for deadline := time.Now().Add(patience); syscall.Kill(pid, 0) == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the command outlived its shim")
		}
	}
	if _, err := shim.ReadExit(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("exit file: %v", err)
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	run(t, shim.Config{Args: sh(`echo one; echo two >&2; sleep 0.1; printf 'no end "\\'`), LogPath: path})
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"log":"one\n","stream":"stdout","time":"`, `{"log":"two\n","stream":"stderr","time":"`, `{"log":"no end \"\\","stream":"stdout"`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s is not in\n%s", want, raw)
		}
	}
	run(t, shim.Config{Args: sh("head -c 100000 /dev/zero | tr '\\0' x"), LogPath: path + "2"})
	raw, err = os.ReadFile(path + "2")
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(raw, []byte("\n")); lines != 7 || bytes.Count(raw, []byte("x")) != 100000 {
		t.Errorf("a line of 100,000 bytes became %d entries", lines)
	}
}

// TestKillBeforeTheStart covers a daemon that died between a shim's launch and
// its command's start: the next one need not wait.
func TestKillBeforeTheStart(t *testing.T) {
	t.Parallel()
	conn, dir := launch(t, shim.Config{Args: sh("exit 0")})
	if err := conn.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var start *shim.StartError
	if _, err := conn.Wait(); !errors.As(err, &start) || start.Code != 137 { // 125 if it had waited
		t.Errorf("the end is %v", err)
	}
	if err := shim.Remove(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory: %v", err)
	}
}
