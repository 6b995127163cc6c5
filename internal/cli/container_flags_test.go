package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/sluice-net/sluice/internal/api"
)

// bodyOf is the request that a line of run's arguments makes.
func bodyOf(t *testing.T, args ...string) api.CreateContainer {
	t.Helper()
	env, _, _ := testEnv(t)
	var o containerOptions
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	o.addFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	body, err := o.body(env, flags.Args())
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return body
}

func TestRunFlags(t *testing.T) {
	t.Parallel()
	got := bodyOf(t, "-it", "--name=web", "-h", "box", "--net=custom", "-p", "80:80", "--publish", "81:81/udp", "-e", "A=1", "-e", "HOME", "-e", "UNSET",
		"--cap-add=NET_ADMIN", "--rm", "--", "sh", "-c", "true")
	want := api.CreateContainer{
		Name: "web", Hostname: "box", Cmd: []string{"sh", "-c", "true"}, Env: []string{"A=1", "HOME=/home/user"}, OpenStdin: true, Tty: true,
		HostConfig: api.HostConfig{NetworkMode: "custom", Publish: []string{"80:80", "81:81/udp"}, AutoRemove: true, CapAdd: []string{"NET_ADMIN"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestFlagsEndAtTheCommand: what follows it is the command's, with -- or not.
func TestFlagsEndAtTheCommand(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--rm", "ls", "--name", "x"}, {"--rm", "--", "ls", "--name", "x"}} {
		got := bodyOf(t, args...)
		if got.Name != "" || !reflect.DeepEqual(got.Cmd, []string{"ls", "--name", "x"}) {
			t.Errorf("%v: name %q, command %v", args, got.Name, got.Cmd)
		}
	}
}

func TestEnvFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "env")
	long := "LONG=" + strings.Repeat("x", 100_000)
	if err := os.WriteFile(path, []byte("# comment\n\nA=1\n  B=x y \t\r\n \t\n # comment\nHOME\n"+long+"\nEND= "), 0o600); err != nil {
		t.Fatal(err)
	}
	got := bodyOf(t, "--env-file", path, "-e", "A=2").Env
	if want := []string{"A=1", "B=x y \t", "HOME=/home/user", long, "END= ", "A=2"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %.200q, want %.200q", got, want)
	}
}

// TestNotUTF8: the API carries text, and must not carry another one than was meant.
func TestNotUTF8(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(path, []byte("A=\xff\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		code int
	}{
		{[]string{"run", "cat", "\xff"}, 125},
		{[]string{"create", "-e", "A=\xff"}, 125},
		{[]string{"run", "--env-file", path}, 125},
		{[]string{"run", "--workdir", "/\xff"}, 125},
		{[]string{"run", "--rootfs", "/\xff"}, 125},
		{[]string{"exec", "net00", "cat", "\xff"}, 1},
		{[]string{"exec", "-e", "A=\xff", "net00", "cat"}, 1},
		{[]string{"exec", "-w", "/\xff", "net00", "cat"}, 1},
	} {
		code, _, stderr := runCLI(t, test.args...)
		if code != test.code || !strings.Contains(stderr, `\xff" is no UTF-8`) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit code %d, want %d; said %q", test.args, code, test.code, stderr)
		}
	}
	if got := bodyOf(t, "cat", "\ufffd").Cmd; got[1] != "\ufffd" {
		t.Errorf("the character that stands for what is none: %q", got)
	}
}
