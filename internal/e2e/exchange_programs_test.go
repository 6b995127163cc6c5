package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// The first byte of a connection to an exchange-serve says what is exchanged.
const (
	streamKind    = 's'
	datagramsKind = 'd'
)

// exchangeServe exchanges bytes with connections to ADDR:PORT, and datagrams
// with one client after the other, who say by such a connection what they want.
func exchangeServe(args []string) error {
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	local, err := net.ResolveUDPAddr("udp", args[0])
	if err != nil {
		return err
	}
	udp, err := net.ListenUDP("udp", local)
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		if err := exchangeWith(conn.(*net.TCPConn), udp); err != nil && !errors.Is(err, io.EOF) {
			fmt.Fprintf(os.Stderr, "an exchange with %s: %v\n", conn.RemoteAddr(), err)
		}
		conn.Close()
	}
}

func exchangeWith(conn *net.TCPConn, udp *net.UDPConn) error {
	var kind [1]byte
	if _, err := io.ReadFull(conn, kind[:]); err != nil {
		return err
	}
	switch kind[0] {
	case streamKind:
		return streamAnswer(conn)
	case datagramsKind:
		return datagramsAnswer(conn, udp)
	}
	return fmt.Errorf("it asks for %q", kind)
}
