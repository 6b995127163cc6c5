// Package e2e tests sluice as its users meet it: the built binaries, real
// packets, real programs as clients and servers, in network namespaces. Tests
// of a tutorial row carry the row's number and name.
package e2e

import (
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/sluice-net/sluice/internal/lab"
)

// The test binary serves as a program in containers too, which see the host's
// files: its first argument then says what it is to be.
var programs = map[string]func(args []string) error{
	"udp-echo": udpEcho,
	"tcp-echo": tcpEcho,
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if program, ok := programs[os.Args[1]]; ok {
			if err := program(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests need root: they make network namespaces and load programs")
		os.Exit(1)
	}
	code := m.Run()
	lab.RemoveBinary()
	os.Exit(code)
}

// udpEcho answers every datagram to ADDR:PORT with whom it came from and what
// it said.
func udpEcho(args []string) error {
	conn, err := net.ListenPacket("udp4", args[0])
	if err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if _, err := conn.WriteTo(fmt.Appendf(nil, "%s %s", from, buffer[:n]), from); err != nil {
			return err
		}
	}
}

// tcpEcho greets every connection to ADDR:PORT with whom it came from, then
// sends back what it says.
func tcpEcho(args []string) error {
	listener, err := net.Listen("tcp4", args[0])
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			fmt.Fprintf(conn, "%s\n", conn.RemoteAddr())
			buffer := make([]byte, 32<<10)
			for {
				n, err := conn.Read(buffer)
				if err != nil {
					return
				}
				if _, err := conn.Write(buffer[:n]); err != nil {
					return
				}
			}
		}()
	}
}
