package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/daemon"
)

// execute runs a command line and returns the options of what it ran.
func execute(t *testing.T, line string) (ran string, o daemon.Options, err error) {
	t.Helper()
	note := func(what string) func(context.Context, daemon.Options) error {
		return func(_ context.Context, options daemon.Options) error {
			ran, o = what, options
			return nil
		}
	}
	root := newRoot(verbs{note("daemon"), note("reset"), func(o daemon.Options) ([]api.Finding, error) {
		return nil, note("doctor")(context.Background(), o)
	}})
	root.SetOut(io.Discard)
	root.SetArgs(strings.Fields(line))
	err = root.ExecuteContext(context.Background())
	return ran, o, err
}

func TestDaemonFlags(t *testing.T) {
	ran, o, err := execute(t, "daemon --root /r --cgroup /c --uplink a --uplink b --attach clsact --reserve-ports 4096 --log-level debug")
	if ran != "daemon" || err != nil {
		t.Fatalf("ran %q: %v", ran, err)
	}
	if o.Root != "/r" || o.Cgroup != "/c" || strings.Join(o.Uplinks, ",") != "a,b" || o.Attach != "clsact" || o.ReservePorts != 4096 || o.Version != version {
		t.Errorf("options %+v", o)
	}
}

func TestHelpIsThatOfTheVerb(t *testing.T) {
	var said bytes.Buffer
	root := newRoot(verbs{})
	root.SetOut(&said)
	root.SetArgs([]string{"daemon", "--help"})
	if err := root.Execute(); err != nil || !strings.Contains(said.String(), "sluice daemon [flags]") {
		t.Errorf("error %v, said:\n%s", err, said.String())
	}
}

func TestRootFromEnvironment(t *testing.T) {
	t.Setenv("SLUICE_ROOT", "/e")
	for _, verb := range []string{"daemon", "reset", "doctor"} {
		ran, o, err := execute(t, verb)
		if ran != verb || err != nil || o.Root != "/e" {
			t.Errorf("%s: ran %q with root %q: %v", verb, ran, o.Root, err)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for _, line := range []string{"daemon --log-level loud", "daemon --repair-interval 0s", "daemon extra", "daemon --nonsense", "reset extra", "doctor extra", "nonsense"} {
		if ran, _, err := execute(t, line); ran != "" || err == nil {
			t.Errorf("%s: ran %q, error %v", line, ran, err)
		}
	}
}
