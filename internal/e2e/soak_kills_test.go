package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

var killTimes = flag.Int("soak.kills", 5, "how often the soak `kills` kills the daemon")

// soakKills kills the daemon at random moments while clients give it every verb,
// and while it starts. Each time the next one must make everything agree, and
// no connection may be refused or lost.
func soakKills(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	l := lab.New(t)
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	greeting(l.Client, lab.HostAddr+":8080")
	talks := []*talk{newTalk(t, l.Client, lab.HostAddr+":8080")}
	askers := []*asker{
		startAsker(t, l.Client, lab.HostAddr+":8080"),
		startAsker(t, l.Host, "127.0.0.1:8080"),
	}
	verbs := 0
	for kill := range *killTimes {
		verbs += disturb(l, random, func() {
			time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
			l.StopDaemon(unix.SIGKILL)
		})
		if random.IntN(3) == 0 {
			l.LaunchDaemon()
			time.Sleep(time.Duration(random.IntN(600)) * time.Millisecond)
			l.StopDaemon(unix.SIGKILL)
		}
		l.StartDaemon()
		expectInvariants(l)
		for _, k := range talks {
			k.say("still here")
		}
		for _, a := range askers {
			a.expectRunning(t)
		}
		if t.Failed() {
			t.Fatalf("after %d kills", kill+1)
		}
	}
	for _, a := range askers {
		t.Logf("%d kills, %d verbs: %s %s", *killTimes, verbs, a.addr, a.stop(t))
	}
}

// disturb lets workers give the daemon random verbs until kill has returned and
// their last ones are done. It returns how many there were.
func disturb(l *lab.Lab, random *rand.Rand, kill func()) (verbs int) {
	const workers = 4
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	var mu sync.Mutex
	for worker := range workers {
		own := rand.New(rand.NewPCG(random.Uint64(), 0))
		group.Go(func() {
			for ctx.Err() == nil {
				args := randomVerb(own, worker)
				output, err := tryVerb(l, args)
				if err != nil || strings.Contains(output, "panic") || strings.Contains(output, "goroutine ") {
					l.Errorf("%v: %v: %s", args, err, output)
				}
				mu.Lock()
				verbs++
				mu.Unlock()
			}
		})
	}
	kill()
	cancel()
	group.Wait()
	return verbs
}

// tryVerb runs a verb, whose failure is no error: the daemon may be gone, and the
// thing too. That it does not end is one.
func tryVerb(l *lab.Lab, args []string) (output string, err error) {
	cmd := exec.Command(lab.Binary(l.T), append([]string{"--root", l.Root}, args...)...)
	var b strings.Builder
	cmd.Stdout, cmd.Stderr = &b, &b
	cmd.WaitDelay = time.Second
	if err := l.Host.Start(cmd); err != nil {
		return "", err
	}
	hung := time.AfterFunc(60*time.Second, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	if !hung.Stop() {
		return b.String(), fmt.Errorf("it did not end")
	}
	return b.String(), nil
}

// randomVerb is one on the worker's own things.
func randomVerb(random *rand.Rand, worker int) []string {
	name := func(what string) string { return fmt.Sprintf("w%d%s", worker, what) }
	port := func() string { return fmt.Sprintf("%d:80", 9000+10*worker+random.IntN(4)) }
	verbs := [][]string{
		{"network", "create", name("net")},
		{"network", "create", "--internal", name("int")},
		{"network", "rm", name("net"), name("int")},
		{"run", "-d", "--name=" + name("a"), "--network=" + name("net"), "--network-alias=rr", "-p", port()},
		{"run", "-d", "--name=" + name("b"), "-p", port(), "-p", "127.0.0.1:" + port() + "/udp"},
		{"run", "-d", "--name=" + name("c"), "--net=container:" + name("a")},
		{"run", "-d", "--rm", "--name=" + name("d"), "--net=host", "sleep", "0.05"},
		{"run", "--rm", "-p", port(), "true"},
		{"create", "--name=" + name("e"), "-p", port()},
		{"start", name("a"), name("b"), name("e")},
		{"stop", "-t", "0", name("a"), name("b"), name("e")},
		{"kill", name("c")},
		{"publish", name("a"), port()},
		{"unpublish", name("a"), port()},
		{"exec", name("a"), "true"},
		{"exec", "-d", name("b"), "sleep", "0.05"},
		{"rm", "-f", name("a"), name("c")},
		{"rm", "-f", name("b"), name("e")},
		{"inspect", name("a")},
		{"ps", "-a"},
		{"nat"},
	}
	return verbs[random.IntN(len(verbs))]
}

// asker makes connections all the time.
type asker struct {
	addr   string
	cmd    *exec.Cmd
	stdin  interface{ Close() error }
	output strings.Builder
	ended  chan error
}

func startAsker(t testing.TB, n *lab.Namespace, addr string) *asker {
	t.Helper()
	a := &asker{addr: addr, cmd: exec.Command(selfPath, "tcp-ask-on", addr, "5ms"), ended: make(chan error, 1)}
	a.cmd.Stdout, a.cmd.Stderr = &a.output, &a.output
	n.Must(func() (err error) { a.stdin, err = a.cmd.StdinPipe(); return err })
	n.Must(func() error { return n.Start(a.cmd) })
	t.Cleanup(func() { _ = a.cmd.Process.Kill() })
	go func() { a.ended <- a.cmd.Wait() }()
	return a
}

func (a *asker) expectRunning(t testing.TB) {
	t.Helper()
	select {
	case err := <-a.ended:
		t.Fatalf("new connections to %s: %v: %s", a.addr, err, lastLines(a.output.String()))
	default:
	}
}

// stop returns what it says of its connections.
func (a *asker) stop(t testing.TB) string {
	t.Helper()
	_ = a.stdin.Close()
	if err := <-a.ended; err != nil {
		t.Errorf("new connections to %s: %v: %s", a.addr, err, lastLines(a.output.String()))
	}
	return lastLines(a.output.String())
}

func lastLines(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndex(s, "\n")+1:]
}
