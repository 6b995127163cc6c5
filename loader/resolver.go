package loader

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
)

// loopback is the ifindex of lo in every network namespace.
const loopback = 1

// AttachResolver attaches the resolver program to the loopback device of the
// calling thread's network namespace. Nothing is pinned: names wait for the
// daemon. The link ends with the process or with Close, which may be called
// from any namespace; a clsact filter ends with the namespace, and is replaced
// by the next call.
func (l *Loader) AttachResolver() (io.Closer, error) {
	attached, err := l.attachResolver()
	if err != nil {
		return nil, fmt.Errorf("attach the %s program: %w", datapath.HookResolver, err)
	}
	return attached, nil
}

func (l *Loader) attachResolver() (io.Closer, error) {
	program := l.Program(datapath.HookResolver)
	if l.mode == AttachTCX {
		if err := deleteFilter(loopback, ingress); err != nil {
			return nil, err
		}
		return link.AttachTCX(link.TCXOptions{Interface: loopback, Program: program, Attach: tcxPoint(ingress)})
	}
	if err := netlink.QdiscAdd(clsactQdisc(loopback)); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("add the clsact qdisc: %w", err)
	}
	return nothing{}, replaceFilter(program, loopback, ingress)
}

// nothing is there to close.
type nothing struct{}

func (nothing) Close() error { return nil }
