package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// programs are what the test binary can be.
var programs = map[string]func(args []string) error{
	"udp-echo":       udpEcho,
	"tcp-echo":       tcpEcho,
	"udp-ask":        udpAsk,
	"udp-ask-from":   udpAskFrom,
	"udp-ask-all":    udpAskAll,
	"udp-send":       udpSend,
	"udp-ask-often":  udpAskOften,
	"tcp-ask":        tcpAsk,
	"tcp-ask-loop":   tcpAskLoop,
	"tcp-peer":       tcpPeer,
	"udp-peer":       udpPeer,
	"tcp-ask-on":     tcpAskOn,
	"dns-ask":        dnsAsk,
	"dns-serve":      dnsServe,
	"member":         member,
	"tcp-tally":      tcpTally,
	"tcp-sink":       tcpSink,
	"tcp-pour":       tcpPour,
	"tcp-give":       tcpGive,
	"tcp-take":       tcpTake,
	"ask-every-way":  askEveryWay,
	"tcp-last":       tcpLast,
	"udp-source":     udpSource,
	"udp-last":       udpLast,
	"open-socket":    openSocket,
	"exchange-serve": exchangeServe,
	"stream":         stream,
	"datagrams":      datagrams,
	"load-serve":     loadServe,
	"load-keep":      loadKeep,
	"load-churn":     loadChurn,
	"flood":          flood,
}

// askTimeout is how long a client waits for what may never come, answerTimeout for
// what a server that it has found will say: who asks again would be counted twice.
const (
	askTimeout    = time.Second
	answerTimeout = 20 * time.Second
)

// udpEcho answers every datagram to ADDR:PORT, or to :PORT of both families, with
// whom it came from and what it said.
func udpEcho(args []string) error {
	conn, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		// Who cannot be reached is no reason to leave the others without an answer.
		_, _ = conn.WriteTo(fmt.Appendf(nil, "%s %s", from, buffer[:n]), from)
	}
}

// udpAsk sends MESSAGE to ADDR:PORT and prints the answer.
func udpAsk(args []string) error {
	conn, err := net.Dial("udp", args[0])
	if err != nil {
		return err
	}
	return askOn(conn, args[1])
}

// udpAskFrom is udpAsk from an ADDR:PORT of its own, its first argument.
func udpAskFrom(args []string) error {
	local, err := net.ResolveUDPAddr("udp", args[0])
	if err != nil {
		return err
	}
	dialer := net.Dialer{LocalAddr: local}
	conn, err := dialer.Dial("udp", args[1])
	if err != nil {
		return err
	}
	return askOn(conn, args[2])
}

func askOn(conn net.Conn, message string) error {
	defer conn.Close()
	if _, err := conn.Write([]byte(message)); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(askTimeout)); err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	n, err := conn.Read(buffer)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", buffer[:n])
	return nil
}

// tcpEcho greets every connection to ADDR:PORT, or to :PORT of both families, with
// whom it came from, then sends back what it says.
func tcpEcho(args []string) error {
	return serveTCP(args[0], func(conn net.Conn) {
		fmt.Fprintf(conn, "%s\n", conn.RemoteAddr())
		sendBack(conn)
	})
}

// sendBack sends back what a connection says, until it ends.
func sendBack(conn net.Conn) {
	buffer := make([]byte, 4<<10)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// tcpAsk connects to ADDR:PORT and prints the first line that comes.
func tcpAsk(args []string) error { return askStream(args[0], answerTimeout) }

// askStream does so, if the line comes in time.
func askStream(addr string, patience time.Duration) error {
	conn, err := net.DialTimeout("tcp", addr, askTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	fmt.Print(line)
	return err
}

// tcpPeer connects to ADDR:PORT and prints what the peer is then called.
func tcpPeer(args []string) error {
	conn, err := net.DialTimeout("tcp", args[0], askTimeout)
	if err != nil {
		return err
	}
	fmt.Println(conn.RemoteAddr())
	return conn.Close()
}

// udpPeer asks ADDR:PORT by an unconnected socket and prints who answers.
func udpPeer(args []string) error {
	to, err := net.ResolveUDPAddr("udp4", args[0])
	if err != nil {
		return err
	}
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.WriteTo([]byte("hello"), to); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(askTimeout)); err != nil {
		return err
	}
	_, from, err := conn.ReadFrom(make([]byte, 64))
	if err != nil {
		return err
	}
	fmt.Println(from)
	return nil
}

// tcpAskLoop is tcpAsk N times with a pause of DURATION; none may fail, or take a second.
func tcpAskLoop(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	pause, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	for i := range n {
		if err := askStream(args[0], askTimeout); err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, n, err)
		}
		time.Sleep(pause)
	}
	return nil
}

// tcpAskOn is tcpAsk with a pause of DURATION again and again, until standard
// input ends; then it prints how many there were. None may fail.
func tcpAskOn(args []string) error {
	pause, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	ended := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	for n := 0; ; n++ {
		select {
		case err := <-ended:
			fmt.Printf("asked %d times\n", n)
			return err
		case <-time.After(pause):
		}
		if err := askStream(args[0], askTimeout); err != nil {
			return fmt.Errorf("connection %d: %w", n+1, err)
		}
	}
}
