package cli

import (
	"os"
	"path/filepath"
	"reflect"
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
	if err := os.WriteFile(path, []byte("# comment\n\nA=1\nB=x y\nHOME\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := bodyOf(t, "--env-file", path, "-e", "A=2").Env
	if want := []string{"A=1", "B=x y", "HOME=/home/user", "A=2"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
