package bench

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/netdev"
)

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -target bpfel -no-global-types forward ../../bpf/bench/forward.c

// sink is the end of an arm's frames: a program that counts and drops IPv4 at
// a device's ingress.
type sink struct{ received *ebpf.Map }

// newSink attaches one in the namespace at path.
func newSink(e *Env, path, device string) (*sink, error) {
	objects, err := loadPrograms(e, 0)
	if err != nil {
		return nil, err
	}
	return &sink{objects.Received}, attach(e, path, device, objects.CountAndDrop)
}

// count returns how many packets have arrived so far.
func (s *sink) count() (total uint64, err error) {
	var perCPU []uint64
	if err := s.received.Lookup(uint32(0), &perCPU); err != nil {
		return 0, fmt.Errorf("read the sink's counter: %w", err)
	}
	for _, n := range perCPU {
		total += n
	}
	return total, nil
}

// attachRedirect hands all that arrives at a device to the peer of another.
func attachRedirect(e *Env, path, device, to string) error {
	var ifindex int
	err := netdev.InNamespace(path, func() error {
		target, err := netlink.LinkByName(to)
		if err == nil {
			ifindex = target.Attrs().Index
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("look for %s: %w", to, err)
	}
	objects, err := loadPrograms(e, ifindex)
	if err != nil {
		return err
	}
	return attach(e, path, device, objects.BareRedirect)
}

func loadPrograms(e *Env, redirectTo int) (*forwardObjects, error) {
	spec, err := loadForward()
	if err != nil {
		return nil, err
	}
	if err := spec.Variables["redirect_to"].Set(uint32(redirectTo)); err != nil {
		return nil, err
	}
	var objects forwardObjects
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		return nil, fmt.Errorf("load the benchmark's programs: %w", err)
	}
	e.cleanup(objects.Close)
	return &objects, nil
}

// attach attaches a program to a device's ingress for as long as e lives.
func attach(e *Env, path, device string, program *ebpf.Program) error {
	return netdev.InNamespace(path, func() error {
		dev, err := netlink.LinkByName(device)
		if err != nil {
			return fmt.Errorf("look for %s: %w", device, err)
		}
		l, err := link.AttachTCX(link.TCXOptions{
			Interface: dev.Attrs().Index,
			Program:   program,
			Attach:    ebpf.AttachTCXIngress,
		})
		if err != nil {
			return fmt.Errorf("attach to %s: %w", device, err)
		}
		e.cleanup(l.Close)
		return nil
	})
}
