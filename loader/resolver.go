package loader

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
)

// loopback is the ifindex of lo in every network namespace.
const loopback = 1

// AttachResolver attaches the resolver program to the loopback device of the
// calling thread's network namespace, in either mode as a clsact filter. It
// ends with the namespace, nothing is pinned, and a filter that is there is
// replaced. A tcx link would cost each start of a container, and each end, a
// grace period of RCU, for which the kernel holds the lock of all devices;
// the filter costs some 80 ns more for a packet on lo.
func (l *Loader) AttachResolver() error {
	err := netlink.QdiscAdd(clsactQdisc(loopback))
	if errors.Is(err, unix.EEXIST) {
		err = nil
	}
	if err == nil {
		err = replaceFilter(l.Program(datapath.HookResolver), loopback, ingress)
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: the clsact qdisc and BPF filters (CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF): %w", ErrKernel, err)
	case err != nil:
		return fmt.Errorf("attach the %s program: %w", datapath.HookResolver, err)
	}
	return nil
}
