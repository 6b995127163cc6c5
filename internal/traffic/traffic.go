// Package traffic is the client and the server whose connections are
// benchmarked. Each is a program of one thread that does little beside the
// system calls, so that what is in between shows.
package traffic

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Kind is what a client does with its connections, and the first byte of what
// it says, by which the server knows.
type Kind byte

// A request and an answer have exchangeSize bytes.
const (
	Short    Kind = 'c' // connect, ask once, be answered; the server closes first
	Kept     Kind = 'k' // ask over and over by the same TCP connection
	Datagram Kind = 'd' // ask over and over by the same UDP socket
	Stream   Kind = 's' // send as much as goes by one TCP connection
)

const exchangeSize = 64

// patience is how long a client waits for anything to happen.
const patience = 3 * time.Second

var kinds = map[string]Kind{"short": Short, "kept": Kept, "datagram": Datagram, "stream": Stream}

func (k Kind) String() string {
	for name, kind := range kinds {
		if kind == k {
			return name
		}
	}
	return "unknown"
}

// Task is what a client is to do. It stops beginning anew when Count exchanges
// are done or For is over, whichever is first.
type Task struct {
	To       netip.AddrPort
	Kind     Kind
	Parallel int // how many exchanges, or streams, at once
	Count    int // exchanges, or streams, in all
	For      time.Duration
	CPU      int
}

// Report is what a client has done.
type Report struct {
	Count   int           // exchanges: connections if Short, else answers
	Bytes   int64         // of Stream: what the server took
	Elapsed time.Duration // from the first system call to the last
	P50     time.Duration // of an exchange's times; 0 for Stream
	P99     time.Duration
}

// Command is the first argument of a program that then calls Main with the
// others.
const Command = "traffic"

// Ready is what a server says when it listens.
const Ready = "ready\n"

// ServeArgs are the arguments with which a program that calls Main is a server.
func ServeArgs(listen netip.AddrPort, cpu int) []string {
	return []string{Command, "serve", "-cpu", fmt.Sprint(cpu), "-listen", listen.String()}
}

// Args are the arguments with which a program that calls Main does the task.
func (t *Task) Args() []string {
	return []string{Command, "ask", "-cpu", fmt.Sprint(t.CPU), "-to", t.To.String(), "-kind", t.Kind.String(),
		"-parallel", fmt.Sprint(t.Parallel), "-count", fmt.Sprint(t.Count), "-for", t.For.String()}
}

// Main is the client or the server. A client prints a Report as JSON; a server
// says that it is ready, and ends with its standard input.
func Main(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("want serve or ask")
	}
	switch args[0] {
	case "serve":
		return mainServe(args[1:])
	case "ask":
		return mainAsk(args[1:])
	}
	return fmt.Errorf("%q is neither serve nor ask", args[0])
}

func mainServe(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	cpu := flags.Int("cpu", 0, "CPU to run on")
	listen := flags.String("listen", "", "ADDR:PORT of both protocols")
	if err := flags.Parse(args); err != nil {
		return err
	}
	addr, err := netip.ParseAddrPort(*listen)
	if err != nil {
		return err
	}
	return pinned(*cpu, func() error { return serve(addr, os.Stdin, os.Stdout) })
}

func mainAsk(args []string) error {
	task, err := parseTask(args)
	if err != nil {
		return err
	}
	return pinned(task.CPU, func() error {
		report, err := ask(&task)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(report)
	})
}

// parseTask reads what Args has written, but for the first two.
func parseTask(args []string) (task Task, err error) {
	flags := flag.NewFlagSet("ask", flag.ContinueOnError)
	flags.IntVar(&task.CPU, "cpu", 0, "CPU to run on")
	to := flags.String("to", "", "ADDR:PORT of the server")
	kind := flags.String("kind", Short.String(), "short, kept, datagram or stream")
	flags.IntVar(&task.Parallel, "parallel", 1, "exchanges at once")
	flags.IntVar(&task.Count, "count", 1, "exchanges, at most")
	flags.DurationVar(&task.For, "for", time.Second, "how long, at most")
	if err := flags.Parse(args); err != nil {
		return task, err
	}
	if task.To, err = netip.ParseAddrPort(*to); err != nil {
		return task, err
	}
	task.Kind = kinds[*kind]
	if task.Kind == 0 || task.Parallel < 1 || task.Count < 1 {
		return task, fmt.Errorf("want a -kind that there is, and at least one exchange")
	}
	return task, nil
}

// pinned runs fn on one CPU, before every ordinary thread.
func pinned(cpu int, fn func() error) error {
	undo, err := Pin(cpu)
	if err != nil {
		return err
	}
	defer undo()
	return fn()
}

// summarize fills in the quantiles of an exchange's times.
func (r *Report) summarize(times []time.Duration) {
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	r.P50, r.P99 = times[len(times)/2], times[len(times)*99/100]
}

func sockaddr(addr netip.AddrPort) (family int, sa unix.Sockaddr) {
	if addr.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Addr: addr.Addr().As16(), Port: int(addr.Port())}
}

// message is exchangeSize bytes that begin with the kind.
func message(kind Kind) []byte {
	m := make([]byte, exchangeSize)
	m[0] = byte(kind)
	return m
}

// watch has a descriptor's events reported under a tag.
func watch(epoll, fd int, events uint32, tag int32) error {
	return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: tag})
}
