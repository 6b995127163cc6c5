package e2e

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// bulkTimeout is how long a megabyte may take, on a machine that is busy.
const bulkTimeout = 20 * time.Second

// serveTCP hands every connection to ADDR:PORT to fn.
func serveTCP(addr string, fn func(net.Conn)) error {
	listener, err := net.Listen("tcp", addr)
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
			fn(conn)
		}()
	}
}

func dialBulk(addr string) (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", addr, askTimeout)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), conn.SetDeadline(time.Now().Add(bulkTimeout))
}

// zeros reads as N zero bytes.
func zeros(n string) (io.Reader, error) {
	count, err := strconv.ParseInt(n, 10, 64)
	return io.LimitReader(zero{}, count), err
}

type zero struct{}

func (zero) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// tcpSink answers what a connection to ADDR:PORT says with how many bytes it were.
func tcpSink(args []string) error {
	return serveTCP(args[0], func(conn net.Conn) {
		n, _ := io.Copy(io.Discard, conn)
		fmt.Fprintf(conn, "%d\n", n)
	})
}

// tcpPour sends N bytes to a tcp-sink at ADDR:PORT and prints its answer.
func tcpPour(args []string) error {
	source, err := zeros(args[1])
	if err != nil {
		return err
	}
	conn, err := dialBulk(args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.Copy(conn, source); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	fmt.Print(string(answer))
	return err
}

// tcpGive sends zeros to every connection to ADDR:PORT until it is closed.
func tcpGive(args []string) error {
	return serveTCP(args[0], func(conn net.Conn) { _, _ = io.Copy(conn, zero{}) })
}

// tcpTake reads N bytes from a tcp-give at ADDR:PORT and prints how many came.
func tcpTake(args []string) error {
	count, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	conn, err := dialBulk(args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	n, err := io.CopyN(io.Discard, conn, count)
	fmt.Println(n)
	return err
}
