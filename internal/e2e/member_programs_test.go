package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// member serves ADDR:PORT, or :PORT of both families, by TCP and UDP. It greets and
// answers with its own IPv4 address, then sends back what a connection says. After SIGTERM it takes no
// new connection, and ends when those that it has are closed.
func member(args []string) error {
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	addr, err := ownAddress()
	if err != nil {
		return err
	}
	go answerDatagrams(args[0], addr)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		listener.Close()
	}()
	var conns sync.WaitGroup
	for {
		conn, err := listener.Accept()
		if err != nil {
			conns.Wait()
			return nil
		}
		conns.Go(func() {
			defer conn.Close()
			fmt.Fprintln(conn, addr)
			_, _ = io.Copy(conn, conn)
		})
	}
}

// ownAddress is the address of eth0.
func ownAddress() (string, error) {
	device, err := net.InterfaceByName("eth0")
	if err != nil {
		return "", err
	}
	addrs, err := device.Addrs()
	if err != nil {
		return "", err
	}
	for _, addr := range addrs {
		if ip := addr.(*net.IPNet).IP.To4(); ip != nil {
			return ip.String(), nil
		}
	}
	return "", fmt.Errorf("eth0 has no IPv4 address")
}

func answerDatagrams(listen, addr string) {
	conn, err := net.ListenPacket("udp", listen)
	if err != nil {
		return
	}
	buffer := make([]byte, 64<<10)
	for {
		_, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		_, _ = conn.WriteTo([]byte(addr), from)
	}
}

// tcpTally connects N times to ADDR:PORT, one after the other, and prints how
// often each first line came, as JSON. A connection that fails ends it.
func tcpTally(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	tally := map[string]int{}
	for range n {
		line, err := firstLine(args[0])
		if err != nil {
			return err
		}
		tally[line]++
	}
	return json.NewEncoder(os.Stdout).Encode(tally)
}

func firstLine(addr string) (string, error) {
	conn, err := net.DialTimeout("tcp4", addr, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", err
	}
	return line[:len(line)-1], nil
}
