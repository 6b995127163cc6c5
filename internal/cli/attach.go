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
func attach(env *Env, socket string, interactive bool) error {
	conn, err := shim.Dial(socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer passSignals(conn)()
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

// passSignals passes signals on to the command until stop is called.
func passSignals(conn *shim.Conn) (stop func()) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals)
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
	return func() {
		signal.Stop(signals)
		close(done)
	}
}
