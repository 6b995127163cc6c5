package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-net/sluice/internal/shim"
)

// goTimeout is how long the command waits for a client that starts it.
const goTimeout = 10 * time.Second

// readyFD is the pipe on which the daemon waits for the socket.
const readyFD = 3

// keeper is the state of the one command.
type keeper struct {
	config  shim.Config
	log     *logFile
	start   chan struct{} // closed by the first FrameGo
	starter sync.Once
	spawned chan struct{} // closed when the command runs, or never will
	killed  chan struct{} // closed by a SIGKILL that came before the command
	killer  sync.Once

	mu      sync.Mutex
	clients map[*client]bool
	pid     int // while the command runs
	stdin   *os.File
}

// keep runs the shim of a directory from its socket to its command's end.
func keep(dir string) error {
	config, err := shim.ReadConfig(dir)
	if err != nil {
		return err
	}
	k := &keeper{config: config, start: make(chan struct{}), spawned: make(chan struct{}), killed: make(chan struct{}), clients: map[*client]bool{}}
	listener, err := listen(shim.Socket(dir))
	if err != nil {
		return err
	}
	go k.accept(listener)
	if err := sayReady(); err != nil {
		return err
	}
	exit := k.run(dir)
	if err := shim.WriteExit(dir, exit); err != nil {
		fmt.Fprintln(os.Stderr, "sluice-shim: note the exit:", err)
	}
	k.announceExit(exit)
	return nil
}

func sayReady() error {
	ready := os.NewFile(readyFD, "ready")
	defer ready.Close()
	_, err := ready.Write([]byte{1})
	return err
}

// run waits for the first client, runs the command, and returns how it ended.
// What takes time is done before a client comes; if it failed the client is
// told.
func (k *keeper) run(dir string) shim.Exit {
	c := k.prepare(dir)
	defer c.close()
	select {
	case <-k.start:
	case <-k.killed:
		c.abandon()
		return k.failed(&shim.StartError{Code: 128 + int(syscall.SIGKILL), Message: "killed before it was started"})
	case <-time.After(goTimeout):
		c.abandon()
		return k.failed(&shim.StartError{Code: 125, Message: "nobody started the command"})
	}
	pid, err := c.begin(k.config)
	if err != nil {
		return k.failed(err)
	}
	k.started(pid, c.streams.stdin)
	copied := k.copyOutput(c.streams)
	code := k.wait(pid)
	exit := shim.Exit{Code: code, Time: time.Now()}
	if err := shim.WriteExit(dir, exit); err != nil {
		fmt.Fprintln(os.Stderr, "sluice-shim: note the exit:", err)
	}
	k.tellWatchers(exit)
	c.streams.drain()
	copied.Wait()
	return exit
}

// wait reaps the command and returns its exit code, 128 and the signal's
// number for one that was killed.
func (k *keeper) wait(pid int) int {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, 0, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EINTR) {
			fmt.Fprintln(os.Stderr, "sluice-shim: wait:", err)
			return 255
		}
	}
	k.mu.Lock()
	k.pid = 0
	k.mu.Unlock()
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

func (k *keeper) started(pid int, stdin *os.File) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pid, k.stdin = pid, stdin
	select {
	case <-k.killed:
		_ = syscall.Kill(pid, syscall.SIGKILL)
	default:
	}
	close(k.spawned)
	for c := range k.clients {
		c.send(shim.FrameStarted, pidPayload(pid))
	}
}

func pidPayload(pid int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(pid)) }

// failed tells everybody that the command does not run.
func (k *keeper) failed(err error) shim.Exit {
	var start *shim.StartError
	if !errors.As(err, &start) {
		start = &shim.StartError{Code: 125, Message: err.Error()}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.spawned)
	for c := range k.clients {
		c.send(shim.FrameFailed, append([]byte{byte(start.Code)}, start.Message...))
		k.drop(c)
	}
	return shim.Exit{Code: start.Code, Time: time.Now(), Error: start.Message}
}

// tellWatchers tells those who do not wait for output that the command ended.
func (k *keeper) tellWatchers(exit shim.Exit) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.clients {
		if !c.attached {
			c.send(shim.FrameExit, []byte{byte(exit.Code)})
			k.drop(c)
		}
	}
}

func (k *keeper) announceExit(exit shim.Exit) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.clients {
		c.send(shim.FrameExit, []byte{byte(exit.Code)})
		k.drop(c)
	}
}

// signal sends the command a signal while it runs. SIGKILL ends one that waits
// for its start too.
func (k *keeper) signal(number byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pid != 0 {
		_ = syscall.Kill(k.pid, syscall.Signal(number))
	} else if syscall.Signal(number) == syscall.SIGKILL {
		k.killer.Do(func() { close(k.killed) })
	}
}
