package loader

import (
	"sync"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
)

// tunnel is the uplink program for devices without a link layer. Few hosts have
// one, and to verify it takes a while: so it is loaded for the first.
type tunnel struct {
	mu      sync.Mutex
	program *ebpf.Program
}

func (l *Loader) tunnelProgram() (*ebpf.Program, error) {
	l.tunnel.mu.Lock()
	defer l.tunnel.mu.Unlock()
	if l.tunnel.program != nil {
		return l.tunnel.program, nil
	}
	var err error
	l.tunnel.program, err = l.loadOne("tunnel", datapath.LoadTunnel)
	return l.tunnel.program, err
}

func (l *Loader) closeTunnel() {
	l.tunnel.mu.Lock()
	defer l.tunnel.mu.Unlock()
	if l.tunnel.program != nil {
		l.tunnel.program.Close()
	}
}
