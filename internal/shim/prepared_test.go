package shim_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-net/sluice/internal/shim"
)

// processesOf returns the shim of a directory and its second stage.
func processesOf(t *testing.T, dir string) (shims, stages []int) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		raw, err := os.ReadFile(path)
		args := strings.Split(string(raw), "\x00")
		if err != nil || len(args) < 2 || args[len(args)-2] != dir {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
		if args[1] == "init" {
			stages = append(stages, pid)
		} else {
			shims = append(shims, pid)
		}
	}
	return shims, stages
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// TestCommandWaitsPrepared: everything but the command is there before a client
// starts it, and ends with a shim that is told to end, or is killed.
func TestCommandWaitsPrepared(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *shim.Conn, int){
		"told to end": func(t *testing.T, conn *shim.Conn, _ int) {
			if err := conn.Signal(syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		},
		"killed": func(t *testing.T, _ *shim.Conn, keeper int) {
			if err := syscall.Kill(keeper, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "ran")
			conn, dir := launch(t, shim.Config{Args: sh("touch " + file)})
			var keepers, stages []int
			eventually(t, "nothing waits", func() bool {
				keepers, stages = processesOf(t, dir)
				return len(keepers) == 1 && len(stages) == 1
			})
			end(t, conn, keepers[0])
			_, _ = conn.Wait()
			eventually(t, "something is left", func() bool {
				keepers, stages = processesOf(t, dir)
				return len(keepers)+len(stages) == 0
			})
			if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the command ran: %v", err)
			}
		})
	}
}

// TestFilesUntilTheStart: what is written to a container's files before its
// command starts, in place, the command finds.
func TestFilesUntilTheStart(t *testing.T) {
	t.Parallel()
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	conn, dir := launch(t, shim.Config{Args: []string{"cat", "/etc/hosts"}, Hosts: hosts})
	eventually(t, "nothing waits", func() bool { _, stages := processesOf(t, dir); return len(stages) == 1 })
	if err := os.WriteFile(hosts, []byte("172.20.0.2 net00\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code, err := conn.Attach(nil, &out, os.Stderr); err != nil || code != 0 || out.String() != "172.20.0.2 net00\n" {
		t.Errorf("exit code %d, %v; read %q", code, err, out.String())
	}
}
