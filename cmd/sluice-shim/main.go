// Command sluice-shim keeps one command of a container: its process, its
// standard streams, its log and its exit code. It outlives the daemon, which
// starts it as
//
//	sluice-shim DIRECTORY
//
// with a configuration in the directory (package internal/shim), and finds it
// again by the socket there. `sluice-shim init DIRECTORY` is its own second
// stage, inside a new container's namespaces.
package main

import (
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

func main() {
	// PDEATHSIG and the namespaces of a thread belong to the thread.
	runtime.LockOSThread()
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(20)
	catchIgnored()
	// Whatever was open where the daemon was started stays out of containers.
	err := unix.CloseRange(readyFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	switch {
	case err != nil:
	case len(os.Args) == 2:
		err = keep(os.Args[1])
	case len(os.Args) == 3 && os.Args[1] == initStage:
		initContainer(os.Args[2])
	default:
		err = fmt.Errorf("usage: sluice-shim DIRECTORY (the daemon starts it)")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sluice-shim:", err)
		os.Exit(1)
	}
}

// catchIgnored keeps from commands that the daemon was started with signals
// ignored, as nohup does: execve lets those stay so, and gives those that are
// caught their default back. The runtime catches all others anyway.
func catchIgnored() {
	for _, s := range []os.Signal{unix.SIGHUP, unix.SIGINT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}
