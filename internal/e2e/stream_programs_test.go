package e2e

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// exchangeTimeout bounds one exchange of an end's bytes with the other's.
const exchangeTimeout = 4 * time.Minute

// streamOrder is what both ends of a connection do at once: send so many bytes,
// and take as many.
type streamOrder struct {
	Bytes uint64
	Seed  uint64
}

// streamEnd is what one end of a connection says of it.
type streamEnd struct {
	Sent, Received string  // SHA-256
	User, System   float64 // CPU seconds
	SegmentsSent   uint32  // with data, those sent again included
	SegmentsCame   uint32
	SentAgain      uint32
	CameTwice      uint32 // what the other end had already, of what was sent again
	MTU            uint32 // of the path, as it is known at the end
}

// streamResult is what a client prints.
type streamResult struct {
	Seconds        float64
	Client, Server streamEnd
}

// randomBytes is an endless sequence that its seed determines.
func randomBytes(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// streamAnswer is the server's end: after the exchange it says how that was.
func streamAnswer(conn *net.TCPConn) error {
	_ = conn.SetDeadline(time.Now().Add(exchangeTimeout))
	var order streamOrder
	if err := binary.Read(conn, binary.BigEndian, &order); err != nil {
		return err
	}
	end, err := exchangeStream(conn, order.Bytes, order.Seed+1)
	if err != nil {
		return err
	}
	if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
		return fmt.Errorf("%d bytes too many: %v", n, err)
	}
	if err := end.readInfo(conn); err != nil {
		return err
	}
	return json.NewEncoder(conn).Encode(end)
}

// stream exchanges BYTES with an exchange-serve at ADDR:PORT, by SEED, and prints a
// streamResult.
func stream(args []string) error {
	var order streamOrder
	if _, err := fmt.Sscan(args[1]+" "+args[2], &order.Bytes, &order.Seed); err != nil {
		return err
	}
	dialed, err := net.DialTimeout("tcp", args[0], askTimeout)
	if err != nil {
		return err
	}
	defer dialed.Close()
	conn := dialed.(*net.TCPConn)
	_ = conn.SetDeadline(time.Now().Add(exchangeTimeout))
	begin := time.Now()
	if _, err := conn.Write([]byte{streamKind}); err != nil {
		return err
	}
	if err := binary.Write(conn, binary.BigEndian, order); err != nil {
		return err
	}
	var result streamResult
	if result.Client, err = exchangeStream(conn, order.Bytes, order.Seed); err != nil {
		return err
	}
	result.Seconds = time.Since(begin).Seconds()
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	if err := json.NewDecoder(conn).Decode(&result.Server); err != nil {
		return fmt.Errorf("the other end's result: %w", err)
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// exchangeStream sends and takes n bytes at once, until the other end has
// acknowledged all of them.
func exchangeStream(conn *net.TCPConn, n, seed uint64) (end streamEnd, err error) {
	used := cpuUsed()
	sent := make(chan error, 1)
	go func() {
		hash := sha256.New()
		_, err := copyBytes(io.MultiWriter(hash, conn), randomBytes(seed), n)
		end.Sent = hex.EncodeToString(hash.Sum(nil))
		sent <- err
	}()
	hash := sha256.New()
	took, err := copyBytes(hash, conn, n)
	if err != nil {
		err = fmt.Errorf("%d of %d bytes came: %w", took, n, err)
	}
	if err := errors.Join(err, <-sent); err != nil {
		return end, err
	}
	end.Received = hex.EncodeToString(hash.Sum(nil))
	for unsent := uint32(1); unsent > 0; time.Sleep(time.Millisecond) {
		info, err := tcpInfo(conn)
		if err != nil {
			return end, err
		}
		unsent = info.Unacked + info.Notsent_bytes
	}
	end.User, end.System = used.since()
	return end, end.readInfo(conn)
}

func copyBytes(to io.Writer, from io.Reader, n uint64) (int64, error) {
	took, err := io.CopyBuffer(struct{ io.Writer }{to}, io.LimitReader(struct{ io.Reader }{from}, int64(n)), make([]byte, 256<<10))
	if err == nil && took < int64(n) {
		err = io.ErrUnexpectedEOF
	}
	return took, err
}

// readInfo asks the kernel what became of the segments.
func (e *streamEnd) readInfo(conn *net.TCPConn) error {
	info, err := tcpInfo(conn)
	if err != nil {
		return err
	}
	e.SegmentsSent, e.SegmentsCame = info.Data_segs_out, info.Data_segs_in
	e.SentAgain, e.CameTwice = info.Total_retrans, info.Dsack_dups
	e.MTU = info.Pmtu
	return nil
}

func tcpInfo(conn *net.TCPConn) (info *unix.TCPInfo, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	if controlErr := raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); controlErr != nil {
		return nil, controlErr
	}
	return info, err
}

// cpuTime is what a process has used of the CPU so far.
type cpuTime struct{ user, system float64 }

func cpuUsed() cpuTime {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		panic(err) // there is no such error
	}
	seconds := func(t unix.Timeval) float64 { return float64(t.Nano()) / 1e9 }
	return cpuTime{seconds(usage.Utime), seconds(usage.Stime)}
}

// since is what was used after an earlier look.
func (c cpuTime) since() (user, system float64) {
	now := cpuUsed()
	return now.user - c.user, now.system - c.system
}
