package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// datagramsResult is what a client prints.
type datagramsResult struct {
	Seconds        float64
	Client, Server datagramEnd
}

// datagramsAnswer is the server's end: after the exchange it says how that was.
func datagramsAnswer(control net.Conn, conn *net.UDPConn) error {
	_ = control.SetDeadline(time.Now().Add(exchangeTimeout))
	p := datagramPeer{control: control, conn: conn}
	if err := p.receiveOrder(); err != nil {
		return err
	}
	if err := p.say(0); err != nil {
		return err
	}
	if err := p.exchange(p.order.Seed+1, p.awaitStart); err != nil {
		return err
	}
	return json.NewEncoder(control).Encode(p.end)
}

// datagrams exchanges datagrams with an exchange-serve at ADDR:PORT as ORDER, in
// JSON, says, and prints a datagramsResult.
func datagrams(args []string) error {
	to, err := netip.ParseAddrPort(args[0])
	if err != nil {
		return err
	}
	control, err := net.DialTimeout("tcp", args[0], askTimeout)
	if err != nil {
		return err
	}
	defer control.Close()
	_ = control.SetDeadline(time.Now().Add(exchangeTimeout))
	if _, err := control.Write([]byte{datagramsKind}); err != nil {
		return err
	}
	conn, err := listenFor(to)
	if err != nil {
		return err
	}
	p := datagramPeer{control: control, conn: conn, to: to}
	if err := json.Unmarshal([]byte(args[1]), &p.order); err != nil {
		return err
	}
	if err := p.giveOrder(); err != nil {
		return err
	}
	begin := time.Now()
	if err := p.exchange(p.order.Seed, p.greet); err != nil {
		return err
	}
	result := datagramsResult{Seconds: time.Since(begin).Seconds(), Client: p.end}
	if err := json.NewDecoder(control).Decode(&result.Server); err != nil {
		return fmt.Errorf("the other end's result: %w", err)
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
