package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

// sluiceWithInput runs the CLI with standard input.
func sluiceWithInput(l *lab.Lab, input string, args ...string) lab.Result {
	l.Helper()
	return l.Host.RunInput(input, lab.Binary(l.T), append([]string{"--root", l.Root}, args...)...)
}

func expectResult(t testing.TB, what string, got lab.Result, want lab.Result) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, want)
	}
}

// TestStreamsAndExitCode covers what run and exec pass through.
func TestStreamsAndExitCode(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("run", "-d", "--name=net00")
	script := []string{"sh", "-c", "cat; echo two >&2; exit 7"}
	for _, verb := range [][]string{{"run", "--rm"}, {"exec"}} {
		what := verb[0]
		call := func(input string, flags ...string) lab.Result {
			args := append(verb, flags...)
			if what == "exec" {
				args = append(args, "net00")
			}
			return sluiceWithInput(l, input, append(args, script...)...)
		}
		expectResult(t, what+" -i", call("one\n", "-i"), lab.Result{Stdout: "one\n", Stderr: "two\n", Code: 7})
		expectResult(t, what+" -it", call("one\n", "-i", "-t"), lab.Result{Stdout: "one\n", Stderr: "two\n", Code: 7})
		expectResult(t, what, call("one\n"), lab.Result{Stderr: "two\n", Code: 7})
		large := strings.Repeat("0123456789abcdef\n", 1<<18)
		expectResult(t, what+" with 4 MiB", call(large, "-i"), lab.Result{Stdout: large, Stderr: "two\n", Code: 7})
	}
	expectResult(t, "killed in exec", l.Sluice("exec", "net00", "sh", "-c", "kill -TERM $$"), lab.Result{Code: 143})
	for range 20 { // what ends at once loses no output
		expectResult(t, "echo", l.Sluice("run", "--rm", "echo", "hello"), lab.Result{Stdout: "hello\n"})
	}
}

// startForeground starts run or exec and waits for the command's first line.
func startForeground(l *lab.Lab, args ...string) *exec.Cmd {
	l.Helper()
	cmd := exec.Command(lab.Binary(l.T), append([]string{"--root", l.Root}, args...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		l.Fatal(err)
	}
	if err := l.Host.Start(cmd); err != nil {
		l.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		l.Fatalf("%v: %q, %v", args, line, err)
	}
	return cmd
}

// TestRunIsInterrupted ends run at many moments before its command runs: nothing
// is left, neither a container nor its name.
func TestRunIsInterrupted(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	for i := range 30 {
		cmd := exec.Command(lab.Binary(t), "--root", l.Root, "run", "--rm", "--name=net00", "sleep", "0.1")
		if err := l.Host.Start(cmd); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 3 * time.Millisecond)
		if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // with 143, or in time with the command's own code
		if left := l.OK("ps", "-a", "--format", "{{.Names}} {{.Status}}"); left != "" {
			t.Fatalf("interrupted after %d ms: %s", i*3, left)
		}
	}
}

const untilSignal = `trap 'exit 41' HUP; trap 'exit 42' TERM; trap 'exit 43' INT; trap 'exit 44' USR1
echo ready; while :; do sleep 0.02; done`

func TestSignalsReachTheCommand(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("run", "-d", "--name=net00")
	for signal, code := range map[syscall.Signal]int{unix.SIGHUP: 41, unix.SIGTERM: 42, unix.SIGINT: 43, unix.SIGUSR1: 44} {
		for _, args := range [][]string{{"run", "--rm"}, {"exec", "net00"}} {
			cmd := startForeground(l, append(args, "sh", "-c", untilSignal)...)
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != code {
				t.Errorf("%v, %s: exit code %d, want %d", args, signal, got, code)
			}
		}
	}
}

// TestClientDies covers a client that is killed: its container goes on.
func TestClientDies(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	cmd := startForeground(l, "run", "--name=net00", "sh", "-c", untilSignal)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := inspect(l, "net00").State.Status; got != "running" {
		t.Errorf("the container is %s", got)
	}
	l.OK("stop", "net00")
	if got := inspect(l, "net00").State; got.Status != "exited" || got.ExitCode != 42 {
		t.Errorf("after stop: %+v", got)
	}
}

func TestForegroundLeavesARecord(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	expectResult(t, "run", l.Sluice("run", "--name=kept", "sh", "-c", "echo out; echo err >&2; exit 3"),
		lab.Result{Stdout: "out\n", Stderr: "err\n", Code: 3})
	expectResult(t, "run --rm", l.Sluice("run", "--rm", "--name=removed", "false"), lab.Result{Code: 1})
	if got := l.OK("ps", "-a", "--format", "{{.Names}} {{.Status}}"); !strings.HasPrefix(got, "kept Exited (3)") || strings.Contains(got, "removed") {
		t.Errorf("ps -a: %s", got)
	}
	expectResult(t, "logs", l.Sluice("logs", "kept"), lab.Result{Stdout: "out\n", Stderr: "err\n"})
	if got := l.OK("wait", "kept"); got != "3" {
		t.Errorf("wait: %s", got)
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("run", "-d", "--name=net00", "sh", "-c", "for i in 1 2 3 4 5; do echo $i; done; sleep 0.3; echo 6")
	expectResult(t, "follow", l.Sluice("logs", "-f", "net00"), lab.Result{Stdout: "1\n2\n3\n4\n5\n6\n"})
	expectResult(t, "tail", l.Sluice("logs", "--tail=2", "net00"), lab.Result{Stdout: "5\n6\n"})
	expectResult(t, "tail 0", l.Sluice("logs", "-n", "0", "net00"), lab.Result{})
	for line := range strings.Lines(l.OK("logs", "-t", "net00")) {
		var stamp, text string
		if n, _ := fmt.Sscan(line, &stamp, &text); n != 2 || !strings.HasSuffix(stamp, "Z") {
			t.Errorf("with time stamps: %q", line)
		}
	}
}

// TestDamagedLog covers a log in which a crash or a full disk has left lines that
// are none: what can be read is printed, and that something is missing is said.
func TestDamagedLog(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	id := l.OK("run", "-d", "--name=net00", "sh", "-c", "echo 1; echo 2")
	l.OK("wait", "net00")
	path := filepath.Join(l.Root, "state", "containers", id, "log")
	whole := readFile(l, path)
	first, second, _ := strings.Cut(whole, "\n")
	for damage, want := range map[string]string{
		whole + "{\"log\":\"3":                        "1\n2\n",
		first + "\n{\"log\":\"3\n" + second:           "1\n2\n",
		"\x00\x00\x00\n" + first[:9] + "\n" + second:  "2\n",
		"null\n[]\n" + whole + "{\"log\":1}\n{}\n7\n": "1\n2\n",
		"{": "",
	} {
		if err := os.WriteFile(path, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, verb := range [][]string{{"logs", "net00"}, {"logs", "-f", "net00"}} {
			r := l.Sluice(verb...)
			if r.Stdout != want || r.Code != 1 || strings.Count(r.Stderr, "\n") != 1 || !strings.Contains(r.Stderr, "damaged") {
				t.Errorf("%v of %q: %+v, want %q and a line about the damage", verb, damage, r, want)
			}
		}
	}
}

func TestLogsOfATime(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("run", "-d", "--name=net00", "sh", "-c", "echo 1; sleep 0.2; echo 2; sleep 0.2; echo 3")
	l.OK("wait", "net00")
	var stamps []string
	for line := range strings.Lines(l.OK("logs", "-t", "net00")) {
		stamps = append(stamps, strings.Fields(line)[0])
	}
	if len(stamps) != 3 {
		t.Fatalf("time stamps: %v", stamps)
	}
	for flags, want := range map[string]string{
		"--since=" + stamps[1]:                           "2\n3\n",
		"--until=" + stamps[1]:                           "1\n2\n",
		"--since=" + stamps[1] + " --until=" + stamps[1]: "2\n",
		"--since=10m":                                    "1\n2\n3\n",
		"--until=10m":                                    "",
		"--since=4102444800":                             "",
		"--tail=2 --until=" + stamps[1]:                  "2\n",
		"--follow --since=" + stamps[2]:                  "3\n",
	} {
		expectResult(t, flags, l.Sluice(slices.Concat([]string{"logs"}, strings.Fields(flags), []string{"net00"})...), lab.Result{Stdout: want})
	}
	expectBad(l, []badInput{{"logs --since=yesterday net00", 1, "yesterday"}})
}

// TestClosedOutput covers a client whose output nobody reads any more: it ends
// as a local command would, and its command goes on.
func TestClosedOutput(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("run", "-d", "--name=net00")
	for _, args := range [][]string{{"run", "--name=chatty"}, {"exec", "net00"}} {
		cmd := exec.Command(lab.Binary(t), slices.Concat([]string{"--root", l.Root}, args, []string{"sh", "-c", "seq 1 100000; exec sleep 100.25"})...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Host.Start(cmd); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReaderSize(stdout, 16).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		stdout.Close()
		kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
		if code := cmd.ProcessState.ExitCode(); code != 141 || stderr.Len() != 0 {
			t.Errorf("%v: exit code %d, want 141; said %q", args, code, stderr.String())
		}
	}
	if got := inspect(l, "chatty").State.Status; got != "running" {
		t.Errorf("the container is %s", got)
	}
	for _, name := range []string{"chatty", "net00"} {
		l.Host.Eventually("the command goes on in "+name, func() error {
			if r := l.Sluice("exec", name, "sh", "-c", "grep -qzx 100[.]25 /proc/[0-9]*/cmdline"); r.Code != 0 {
				return fmt.Errorf("grep: %+v", r)
			}
			return nil
		})
	}
	if got := l.OK("logs", "-n", "1", "chatty"); got != "100000" {
		t.Errorf("the log ends with %q", got)
	}
}

// TestEmptyCommand covers a command without a name, which nobody can find, and
// ports that a network without a bridge cannot publish.
func TestEmptyCommand(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("run", "-d", "--name=net00", "--network=none", "-p", "80:80")
	expectLine(t, "run", l.Sluice("run", "--", ""), 127, `exec: ""`)
	expectLine(t, "exec", l.Sluice("exec", "net00", ""), 127, `exec: ""`)
	if got := l.OK("ps", "-a", "--format", "{{.Names}} {{.Ports}}"); got != "net00 " {
		t.Errorf("ps -a: %q", got)
	}
}

// TestFullOutput covers verbs that say one thing and cannot: what they did is
// done, and their exit code tells a script that it does not have the answer.
func TestFullOutput(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	for _, verb := range []string{"create --name=net00", "run -d --name=net01 -p 8080:80", "network create custom", "port net01", "version", "stop -t 0 net01"} {
		r := l.Host.Run("sh", "-c", fmt.Sprintf("exec %s --root %s %s >/dev/full", lab.Binary(t), l.Root, verb))
		if r.Code != 1 || strings.Count(r.Stderr, "\n") != 1 || !strings.Contains(r.Stderr, "no space left") {
			t.Errorf("%s: %+v, want exit code 1 and a line that says why", verb, r)
		}
	}
	if got := inspect(l, "net01").State.Status; got != "exited" {
		t.Errorf("the container is %s", got)
	}
}
