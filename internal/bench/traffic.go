package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/traffic"
)

// lastCPU is where everything that is timed runs.
func lastCPU() int { return runtime.NumCPU() - 1 }

// everywhere is a port of all IPv4 addresses.
func everywhere(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.IPv4Unspecified(), port)
}

// serve starts a server in a namespace, which ends with e.
func (e *Env) serve(namespace string, listen netip.AddrPort, cpu int) error {
	cmd := exec.Command(e.Self, traffic.ServeArgs(listen, cpu)...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := netdev.InNamespace(namespace, cmd.Start); err != nil {
		return fmt.Errorf("start a server: %w", err)
	}
	e.cleanup(func() error { return errors.Join(stdin.Close(), cmd.Wait()) })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != traffic.Ready {
		return fmt.Errorf("the server at %s in %s does not start: %q, %w", listen, filepath.Base(namespace), line, err)
	}
	return nil
}

// ask has a client do a task in a namespace, and in a cgroup unless that is "".
func (e *Env) ask(namespace, cgroup string, task traffic.Task) (report traffic.Report, err error) {
	cmd := exec.Command(e.Self, task.Args()...)
	if cgroup != "" {
		dir, err := os.Open(cgroup)
		if err != nil {
			return report, err
		}
		defer dir.Close()
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	}
	var printed []byte
	err = netdev.InNamespace(namespace, func() (err error) {
		printed, err = cmd.Output()
		return err
	})
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = errors.New(string(exit.Stderr))
		}
		return report, fmt.Errorf("a client in %s: %w", filepath.Base(namespace), err)
	}
	if err := json.Unmarshal(printed, &report); err != nil {
		return report, fmt.Errorf("a client's report: %w", err)
	}
	rest(report.Elapsed)
	return report, nil
}

// rest leaves a CPU to others after work with a real-time priority. Without it
// the kernel would take it away, in the middle of a later turn.
func rest(after time.Duration) { time.Sleep(after / 6) }

// perExchange is what the only CPU that works spends on each exchange.
func perExchange(r traffic.Report) float64 {
	return float64(r.Elapsed.Nanoseconds()) / 1e3 / float64(max(r.Count, 1))
}
