package cli

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sluice-net/sluice/internal/shim"
)

// exitPipe is how a local command ends whose output nobody reads any more.
const exitPipe = 128 + int(syscall.SIGPIPE)

// attach connects the verb's streams and signals to a command, starts it, and
// ends with its exit code. When its output is closed it ends at once, in silence
// and as SIGPIPE would end a local command; the command goes on, as it does when
// its client is killed.
func attach(env *Env, socket string, interactive bool, signals <-chan os.Signal) error {
	conn, err := shim.Dial(socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer passSignals(conn, signals)()
	var stdin io.Reader
	if interactive {
		stdin = env.Stdin
	}
	code, err := conn.Attach(stdin, env.Stdout, env.Stderr)
	switch {
	case errors.Is(err, shim.ErrOutput) && errors.Is(err, syscall.EPIPE):
		return &codeError{code: exitPipe, cause: err}
	case err != nil:
		return startCode(err)
	case code != 0:
		return &codeError{code: code}
	}
	return nil
}

// startCode gives the error of a command that could not be started its exit
// code.
func startCode(err error) error {
	var start *shim.StartError
	if errors.As(err, &start) {
		return &codeError{code: start.Code, err: err}
	}
	return err
}

// notPassed are signals about ourselves, as Docker has them.
var notPassed = map[os.Signal]bool{
	syscall.SIGCHLD: true, syscall.SIGURG: true, syscall.SIGPIPE: true, syscall.SIGWINCH: true,
}

// catchSignals keeps signals from ending the verb until stop is called.
func catchSignals() (signals <-chan os.Signal, stop func()) {
	caught := make(chan os.Signal, 16)
	signal.Notify(caught)
	return caught, func() { signal.Stop(caught) }
}

// interrupted returns an error when a signal was caught that asked the verb to
// end before its command could be told. Others are lost with it.
func interrupted(signals <-chan os.Signal) error {
	for {
		select {
		case s := <-signals:
			switch s {
			case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT:
				return &codeError{code: 128 + int(s.(syscall.Signal))}
			}
		default:
			return nil
		}
	}
}

// passSignals passes signals on to the command until stop is called.
func passSignals(conn *shim.Conn, signals <-chan os.Signal) (stop func()) {
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				if number, ok := s.(syscall.Signal); ok && !notPassed[s] {
					_ = conn.Signal(number)
				}
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
}
