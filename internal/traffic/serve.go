package traffic

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// bufferSize is what one system call moves of a stream.
const bufferSize = 256 << 10

// backlog is how many connections may wait to be accepted.
const backlog = 1024

// server answers on one address by TCP and UDP. Connections without state: what
// is to be done with one is in the first byte of each request.
type server struct {
	epoll    int
	listener int
	datagram int
	end      int // its end is the server's
	buffer   []byte
}

// serve answers until end has no more to read. It says that it is ready on
// status.
func serve(addr netip.AddrPort, end *os.File, status io.Writer) error {
	s := server{end: int(end.Fd()), buffer: make([]byte, bufferSize)}
	defer s.close()
	if err := s.open(addr); err != nil {
		return fmt.Errorf("serve %s: %w", addr, err)
	}
	if _, err := io.WriteString(status, Ready); err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(s.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for clients: %w", err)
		}
		for _, event := range events[:max(n, 0)] {
			switch fd := int(event.Fd); fd {
			case s.end:
				return nil
			case s.listener:
				s.accept()
			case s.datagram:
				s.answerDatagrams()
			default:
				s.answer(fd)
			}
		}
	}
}

func (s *server) open(addr netip.AddrPort) (err error) {
	family, sa := sockaddr(addr)
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if s.listener, err = bound(family, unix.SOCK_STREAM, sa); err != nil {
		return err
	}
	if s.datagram, err = bound(family, unix.SOCK_DGRAM, sa); err != nil {
		return err
	}
	if err := unix.Listen(s.listener, backlog); err != nil {
		return err
	}
	for _, fd := range []int{s.listener, s.datagram, s.end} {
		if err := watch(s.epoll, fd, unix.EPOLLIN, int32(fd)); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) close() {
	for _, fd := range []int{s.epoll, s.listener, s.datagram} {
		if fd > 0 {
			unix.Close(fd)
		}
	}
}

func bound(family, kind int, sa unix.Sockaddr) (int, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	return fd, errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, sa))
}

// accept takes all connections that wait. Most have asked already.
func (s *server) accept() {
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(s.listener), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if errno != 0 {
			return
		}
		if s.answer(int(fd)) {
			continue
		}
		if err := watch(s.epoll, int(fd), unix.EPOLLIN, int32(fd)); err != nil {
			unix.Close(int(fd))
		}
	}
}

// answer does what the client asked for, and reports whether the connection is
// closed.
func (s *server) answer(fd int) (closed bool) {
	for {
		n, err := unix.Read(fd, s.buffer)
		if errors.Is(err, unix.EAGAIN) {
			return false
		}
		if err != nil || n == 0 {
			unix.Close(fd)
			return true
		}
		switch Kind(s.buffer[0]) {
		case Short:
			_, _ = unix.Write(fd, s.buffer[:n])
			unix.Close(fd)
			return true
		case Kept:
			_, _ = unix.Write(fd, s.buffer[:n])
			return false
		}
	}
}

func (s *server) answerDatagrams() {
	for {
		n, from, err := unix.Recvfrom(s.datagram, s.buffer, 0)
		if err != nil {
			return
		}
		_ = unix.Sendto(s.datagram, s.buffer[:n], 0, from)
	}
}
