package names

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/netdev"
)

// Options are what a Service works with.
type Options struct {
	Directory Directory
	Forwarder Forwarder
	// Attach leads port 53 of the calling thread's network namespace to the
	// server's port, for as long as the namespace is there. It can be repeated.
	Attach func() error
	Log    *slog.Logger
}

// Service runs a server in each sandbox. Its methods may be called from any
// goroutine.
type Service struct {
	Options
	observer atomic.Pointer[Observer]

	mu      sync.Mutex
	servers map[string]*server // by sandbox
}

// NewService returns a Service without servers.
func NewService(o Options) *Service { return &Service{Options: o, servers: map[string]*server{}} }

// Observe tells the observer of each query from now on.
func (s *Service) Observe(observer Observer) { s.observer.Store(&observer) }

// server is what the daemon has open in one sandbox. The sockets hold the
// namespace.
type server struct {
	cancel   context.CancelFunc
	datagram net.PacketConn
	stream   *listener
	serving  sync.WaitGroup
}

// Serve starts the server of a sandbox, the path of a network namespace, unless
// there is one. Queries that the directory does not know go to servers, or to
// those of everyone when there are none.
func (s *Service) Serve(sandbox string, servers []netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.servers[sandbox] != nil {
		return nil
	}
	v := &server{}
	if err := netdev.InNamespace(sandbox, func() error { return v.open(s.Attach) }); err != nil {
		return errors.Join(fmt.Errorf("open the name server of %s: %w", sandbox, err), v.close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	v.cancel = cancel
	v.serve(s.Log, &resolver{
		ctx: ctx, sandbox: sandbox, servers: servers, directory: s.Directory, forwarder: s.Forwarder,
		observer: &s.observer, forwards: make(chan struct{}, maxForwards),
	})
	s.servers[sandbox] = v
	return nil
}

// open opens the sockets in the calling thread's namespace.
func (v *server) open(attach func() error) error {
	addr := netip.AddrPortFrom(Server, datapath.ResolverPort)
	datagram, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	v.datagram = datagram
	stream, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	v.stream = newListener(stream)
	return attach()
}

func (v *server) serve(log *slog.Logger, handler dns.Handler) {
	for _, d := range []*dns.Server{
		// With a short timeout each idle server would wake up again and again.
		{PacketConn: v.datagram, Handler: handler, UDPSize: maxUDP, ReadTimeout: time.Hour},
		{Listener: v.stream, Handler: handler},
	} {
		v.serving.Go(func() {
			// The end of its socket ends it.
			if err := d.ActivateAndServe(); err != nil && !errors.Is(err, net.ErrClosed) {
				log.Error("serve names", "error", err)
			}
		})
	}
}

// close closes what is open and waits until nothing is. What was asked outside
// is given up.
func (v *server) close() error {
	var errs []error
	if v.cancel != nil {
		v.cancel()
	}
	if v.datagram != nil {
		errs = append(errs, v.datagram.Close())
	}
	if v.stream != nil {
		errs = append(errs, v.stream.Close())
	}
	v.serving.Wait()
	return errors.Join(errs...)
}

// Stop ends the server of a sandbox, which may then go. One that is not there
// is no error.
func (s *Service) Stop(sandbox string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.servers[sandbox]
	if v == nil {
		return nil
	}
	delete(s.servers, sandbox)
	if err := v.close(); err != nil {
		return fmt.Errorf("close the name server of %s: %w", sandbox, err)
	}
	return nil
}

// Close ends every server.
func (s *Service) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for sandbox, v := range s.servers {
		errs = append(errs, v.close())
		delete(s.servers, sandbox)
	}
	return errors.Join(errs...)
}
