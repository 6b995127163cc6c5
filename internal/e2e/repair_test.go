package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/dirs"
	"github.com/sluice-net/sluice/internal/lab"
)

// TestInvariants holds them against a busy host in each stage of a daemon's
// life.
func TestInvariants(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	expectInvariants(l)
	busyHost(l)
	l.OK("run", "-d", "--name=m0", "--network=custombridge", "--network-alias=rr")
	l.OK("run", "-d", "--name=m1", "--network=custombridge", "--network-alias=rr")
	expectInvariants(l)
	l.StopDaemon(unix.SIGKILL)
	l.StartDaemon()
	expectInvariants(l)
	l.OK("rm", "-f", "net00", "net01", "m1", "test00")
	expectInvariants(l)
}

// damagedHost is a host with something of every kind and connections that go on.
type damagedHost struct {
	*lab.Lab
	talks []*talk
}

func newDamagedHost(t *testing.T, daemonArgs ...string) *damagedHost {
	t.Helper()
	h := &damagedHost{Lab: lab.New(t, daemonArgs...)}
	h.Client.Background(selfPath, "tcp-echo", ":7")
	busyHost(h.Lab)
	for _, name := range []string{"m0", "m1"} {
		runServer(h.Lab, name, "tcp-echo", ":80", "--network=custombridge", "--network-alias=rr")
	}
	h.reconnect()
	return h
}

// reconnect opens the connections anew.
func (h *damagedHost) reconnect() {
	h.Helper()
	h.talks = nil
	h.answers()
	h.talks = []*talk{newTalk(h.T, h.Client, lab.HostAddr+":8080")}
}

// answers asserts that new connections are served in every direction.
func (h *damagedHost) answers() {
	h.Helper()
	greeting(h.Client, lab.HostAddr+":8080")
	greeting(h.Host, "127.0.0.1:8080")
	h.Host.Eventually("net00 reaches the outside", func() error { return h.exec("net00", lab.ClientAddr+":7") })
	h.Host.Eventually("net01 reaches the alias", func() error { return h.exec("net01", h.aliasAddress()+":80") })
}

func (h *damagedHost) goOn() {
	h.Helper()
	for _, k := range h.talks {
		k.say("still here")
	}
}

// exec connects from a container.
func (h *damagedHost) exec(name, addr string) error {
	if r := h.Sluice("exec", name, selfPath, "tcp-ask", addr); r.Code != 0 {
		return errors.New(r.Stderr)
	}
	return nil
}

func (h *damagedHost) aliasAddress() string {
	h.Helper()
	in, err := readIntent(h.Lab)
	if err != nil {
		h.Fatal(err)
	}
	for _, a := range in.aliases {
		return a.Address.String()
	}
	h.Fatal("there is no alias")
	return ""
}

// recovered asserts that what was damaged is whole again.
func (h *damagedHost) recovered(done ...damage) {
	h.Helper()
	var names []string
	kills := false
	for _, d := range done {
		names = append(names, d.name)
		kills = kills || d.kills
	}
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = violations(h.Lab); err == nil {
			break
		}
	}
	if err != nil {
		h.Errorf("%s: not repaired:\n%v", strings.Join(names, ", "), err)
	}
	h.answers()
	if kills || err != nil {
		h.reconnect()
	}
	h.goOn()
}

// TestNextDaemonRepairs damages an instance whose daemon was killed, in one way
// of each kind at once, and starts the next one.
func TestNextDaemonRepairs(t *testing.T) {
	t.Parallel()
	h := newDamagedHost(t)
	kinds := kindsOfDamage()
	// A start reads the rules alone; the rest is repaired as by a daemon that runs.
	kinds[0] = slices.DeleteFunc(kinds[0], func(d damage) bool { return d.kills && d.name != "map rules overwritten" })
	for round := range len(kinds[0]) {
		h.StopDaemon(unix.SIGKILL)
		var done []damage
		for _, kind := range kinds {
			if round >= len(kind) {
				continue
			}
			t.Log(kind[round].name)
			if err := kind[round].do(h.Lab); err != nil {
				t.Fatalf("%s: %v", kind[round].name, err)
			}
			done = append(done, kind[round])
		}
		h.StartDaemon()
		h.recovered(done...)
	}
}

// TestRunningDaemonRepairs does to a daemon that runs what the kernel tells it
// of, and then all the rest to one that looks for itself.
func TestRunningDaemonRepairs(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]struct {
		seen bool
		args []string
	}{
		"at once":      {true, nil},
		"at intervals": {false, []string{"--repair-interval=200ms"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newDamagedHost(t, at.args...)
			for _, d := range damages() {
				if d.seen != at.seen {
					continue
				}
				t.Log(d.name)
				if err := d.do(h.Lab); err != nil {
					t.Fatalf("%s: %v", d.name, err)
				}
				h.recovered(d)
			}
		})
	}
}

// TestSocketIsMadeAnew covers a socket that somebody has removed, as what cleans
// up below /run does, or has put something else in its place.
func TestSocketIsMadeAnew(t *testing.T) {
	t.Parallel()
	l := lab.New(t, "--repair-interval=1ms")
	id := l.OK("run", "-d", "--name=net00")
	socket := dirs.New(l.Root).Socket()
	// A file that is there already takes the place in one step: between two of them
	// the daemon may have made its next socket.
	other := filepath.Join(l.Root, "other")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, harm := range map[string]func() error{
		"removed":  func() error { return os.Remove(socket) },
		"replaced": func() error { return os.Rename(other, socket) },
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		l.Host.Eventually("the daemon answers by a socket that was "+what, func() error {
			if r := l.Sluice("inspect", "--format={{.Id}}", "net00"); r.Code != 0 || strings.TrimSpace(r.Stdout) != id {
				return fmt.Errorf("%s%s", r.Stdout, r.Stderr)
			}
			return nil
		})
		if file, err := os.Stat(socket); err != nil || file.Mode() != os.ModeSocket|0o660 {
			t.Errorf("%s: %v, %v", what, file, err)
		}
	}
	expectInvariants(l)
}
