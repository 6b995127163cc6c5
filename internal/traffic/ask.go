package traffic

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// mostTimes is how many exchanges the quantiles are of: the first ones.
const mostTimes = 1 << 20

// client is a closed loop: each of its slots has one exchange going.
type client struct {
	task     *Task
	family   int
	to       unix.Sockaddr
	epoll    int
	slots    []slot
	open     int // slots with a socket
	begun    int // exchanges
	request  []byte
	buffer   []byte
	deadline time.Time
	times    []time.Duration
	report   Report
}

// slot is one socket and what becomes of it.
type slot struct {
	fd    int
	began time.Time
	asked bool // the request of this exchange is out; a stream's end
}

// ask does a task.
func ask(task *Task) (Report, error) {
	c := client{task: task, slots: make([]slot, min(task.Parallel, task.Count)), request: message(task.Kind), buffer: make([]byte, bufferSize)}
	c.family, c.to = sockaddr(task.To)
	if task.Kind == Stream {
		c.request = make([]byte, bufferSize)
		for i := range c.request {
			c.request[i] = byte(Stream)
		}
	} else {
		c.times = make([]time.Duration, 0, min(task.Count, mostTimes))
	}
	var err error
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return Report{}, err
	}
	defer unix.Close(c.epoll)
	began := time.Now()
	c.deadline = began.Add(task.For)
	if err := c.run(); err != nil {
		return Report{}, fmt.Errorf("%s to %s: %w", task.Kind, task.To, err)
	}
	c.report.Elapsed = time.Since(began)
	c.report.summarize(c.times)
	return c.report, nil
}

func (c *client) run() error {
	for i := range c.slots {
		if err := c.begin(i); err != nil {
			return err
		}
	}
	events := make([]unix.EpollEvent, len(c.slots))
	for c.open > 0 {
		n, err := unix.EpollWait(c.epoll, events, int(patience.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("nothing happened for %v, after %d exchanges", patience, c.report.Count)
		}
		for _, event := range events[:n] {
			if err := c.handle(int(event.Fd), event.Events); err != nil {
				return fmt.Errorf("after %d exchanges: %w", c.report.Count, err)
			}
		}
	}
	return nil
}

// begin opens a slot's socket.
func (c *client) begin(i int) (err error) {
	s := &c.slots[i]
	kind := unix.SOCK_STREAM
	if c.task.Kind == Datagram {
		kind = unix.SOCK_DGRAM
	}
	*s = slot{began: time.Now()}
	c.begun++
	if s.fd, err = unix.Socket(c.family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	c.open++
	if err := unix.Connect(s.fd, c.to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect: %w", err)
	}
	return watch(c.epoll, s.fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLET, int32(i))
}

func (c *client) handle(i int, events uint32) error {
	s := &c.slots[i]
	if events&unix.EPOLLERR != 0 {
		code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		return errors.Join(err, unix.Errno(code))
	}
	if events&unix.EPOLLOUT != 0 && !s.asked {
		if err := c.say(s); err != nil {
			return err
		}
	}
	if events&unix.EPOLLIN != 0 {
		return c.hear(i)
	}
	return nil
}

// say sends a request, or as much of a stream as goes.
func (c *client) say(s *slot) error {
	for {
		n, err := unix.Write(s.fd, c.request)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if c.task.Kind != Stream {
			s.asked = true
			return nil
		}
		c.report.Bytes += int64(n)
		if time.Now().After(c.deadline) {
			s.asked = true
			return unix.Shutdown(s.fd, unix.SHUT_WR)
		}
	}
}

// hear reads what there is. A short connection and a stream end with the
// server's end.
func (c *client) hear(i int) error {
	s := &c.slots[i]
	for {
		n, err := unix.Read(s.fd, c.buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			return fmt.Errorf("receive: %w", err)
		case n == 0 && c.task.Kind == Stream && s.asked:
			return c.close(s)
		case n == 0 && c.task.Kind == Short && s.asked:
			return c.next(i)
		case n == 0:
			return errors.New("the server closed the connection")
		case c.task.Kind != Short:
			return c.askAgain(s)
		}
	}
}

// next replaces a connection that is done.
func (c *client) next(i int) error {
	c.done(&c.slots[i])
	if err := c.close(&c.slots[i]); err != nil || c.enough() {
		return err
	}
	return c.begin(i)
}

// askAgain goes on with a connection whose request was answered.
func (c *client) askAgain(s *slot) error {
	c.done(s)
	if c.enough() {
		return c.close(s)
	}
	s.began, s.asked = time.Now(), false
	c.begun++
	return c.say(s)
}

// done counts an exchange.
func (c *client) done(s *slot) {
	c.report.Count++
	if len(c.times) < cap(c.times) {
		c.times = append(c.times, time.Since(s.began))
	}
}

func (c *client) enough() bool {
	return c.begun >= c.task.Count || time.Now().After(c.deadline)
}

func (c *client) close(s *slot) error {
	c.open--
	return unix.Close(s.fd)
}
