package traffic

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/netdev"
)

// serving starts a server in a namespace of its own, and returns that.
func serving(t *testing.T, addr netip.AddrPort) (namespace string) {
	t.Helper()
	namespace = filepath.Join(t.TempDir(), "ns")
	if err := netdev.NewNamespace(namespace); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netdev.DeleteNamespace(namespace) })
	end, stop, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	status, says := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- netdev.InNamespace(namespace, func() error { return serve(addr, end, says) })
		says.Close()
	}()
	t.Cleanup(func() {
		stop.Close()
		if err := <-ended; err != nil {
			t.Errorf("the server: %v", err)
		}
		end.Close()
	})
	if line, err := bufio.NewReader(status).ReadString('\n'); line != Ready {
		t.Fatalf("the server says %q, %v", line, err)
	}
	return namespace
}

// TestAsk does a bit of each kind, by both families.
func TestAsk(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		addr := netip.AddrPortFrom(netip.MustParseAddr(host), 80)
		namespace := serving(t, addr)
		for _, parallel := range []int{1, 16} {
			for name, kind := range kinds {
				t.Run(fmt.Sprintf("%s/%s/%d", host, name, parallel), func(t *testing.T) {
					task := Task{To: addr, Kind: kind, Parallel: parallel, Count: 100, For: 10 * time.Second}
					if kind == Stream {
						task.For = time.Millisecond
					}
					var report Report
					err := netdev.InNamespace(namespace, func() (err error) {
						report, err = ask(&task)
						return err
					})
					if err != nil {
						t.Fatal(err)
					}
					if kind == Stream {
						if report.Bytes < bufferSize || report.Elapsed < task.For {
							t.Errorf("%+v", report)
						}
						return
					}
					if report.Count != task.Count || report.P50 <= 0 || report.P99 < report.P50 || report.Elapsed < report.P99 {
						t.Errorf("%+v", report)
					}
				})
			}
		}
	}
}

// TestAskEndsInTime: a count that is never reached does not matter.
func TestAskEndsInTime(t *testing.T) {
	addr := netip.MustParseAddrPort("127.0.0.1:80")
	namespace := serving(t, addr)
	task := Task{To: addr, Kind: Short, Parallel: 16, Count: 100_000_000, For: time.Millisecond}
	err := netdev.InNamespace(namespace, func() error {
		report, err := ask(&task)
		if report.Count < task.Parallel {
			t.Errorf("%+v", report)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestAskNobody: a port without a server is one clear error.
func TestAskNobody(t *testing.T) {
	namespace := serving(t, netip.MustParseAddrPort("127.0.0.1:80"))
	task := Task{To: netip.MustParseAddrPort("127.0.0.1:81"), Kind: Short, Parallel: 1, Count: 1, For: time.Second}
	err := netdev.InNamespace(namespace, func() error {
		_, err := ask(&task)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:81") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}

// TestTaskAsArguments: what a task becomes as arguments is the same task.
func TestTaskAsArguments(t *testing.T) {
	task := Task{
		To: netip.MustParseAddrPort("[2001:db8::1]:80"), Kind: Datagram, Parallel: 2, Count: 3, For: 4 * time.Millisecond, CPU: 5,
	}
	args := task.Args()
	if args[0] != Command || args[1] != "ask" {
		t.Errorf("%q", args)
	}
	if got, err := parseTask(args[2:]); got != task || err != nil {
		t.Errorf("%+v, %v, want %+v", got, err, task)
	}
}

func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"sing"}, {"ask", "-kind", "song", "-to", "127.0.0.1:1"}, {"ask", "-to", "nowhere"}, {"serve"}} {
		if err := Main(args); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
