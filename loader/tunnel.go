package loader

import (
	"errors"
	"fmt"
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
	spec, err := datapath.LoadTunnel()
	if err != nil {
		return nil, fmt.Errorf("read the compiled programs: %w", err)
	}
	if err := l.config.setConstants(spec); err != nil {
		return nil, err
	}
	programs, err := l.loadObject(spec)
	if err != nil {
		return nil, explainLoad("tunnel", err, l.config.LogDir)
	}
	for _, program := range programs {
		l.tunnel.program = program
	}
	if len(programs) != 1 {
		return nil, errors.New("the tunnel object does not have one program")
	}
	return l.tunnel.program, nil
}

func (l *Loader) closeTunnel() {
	l.tunnel.mu.Lock()
	defer l.tunnel.mu.Unlock()
	if l.tunnel.program != nil {
		l.tunnel.program.Close()
	}
}
