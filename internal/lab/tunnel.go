package lab

import (
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Tunnel joins two namespaces by tun devices of one name, which have no link
// layer: what one sends the other receives, until the test ends.
func Tunnel(t testing.TB, a, b *Namespace, name string) {
	t.Helper()
	ends := [2]*os.File{openTun(a, name), openTun(b, name)}
	done := make(chan struct{}, len(ends))
	for i := range ends {
		go func() {
			packet := make([]byte, 1<<16)
			_, _ = io.CopyBuffer(struct{ io.Writer }{ends[i]}, struct{ io.Reader }{ends[1-i]}, packet)
			done <- struct{}{}
		}()
	}
	t.Cleanup(func() {
		for _, end := range ends {
			end.Close()
		}
		for range ends {
			<-done
		}
	})
}

// openTun makes a tun device in the namespace and sets it up. It goes with the file.
func openTun(n *Namespace, name string) *os.File {
	n.t.Helper()
	var file *os.File
	n.Must(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return os.NewSyscallError("open /dev/net/tun", err)
		}
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			unix.Close(fd)
			return os.NewSyscallError("make "+name, err)
		}
		file = os.NewFile(uintptr(fd), name)
		return up(name)
	})
	return file
}
