package bench

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/netdev"
)

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -target bpfel -no-global-types forward ../../bpf/bench/forward.c

// sink is the end of an arm's frames: a program that counts and drops UDP at a
// device's ingress or egress.
type sink struct{ received *ebpf.Map }

// newSink attaches one.
func newSink(e *Env, at hook) (*sink, error) {
	objects, err := loadPrograms(e, 0)
	if err != nil {
		return nil, err
	}
	return &sink{objects.Received}, attach(e, at, objects.CountAndDrop)
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

// attachReflector sends UDP that arrives at a device back.
func attachReflector(e *Env, to nic) error {
	objects, err := loadPrograms(e, 0)
	if err != nil {
		return err
	}
	return attach(e, to.ingress(), objects.Reflect)
}

// attachRedirect hands all that arrives at a device to another of its namespace,
// by one of the redirects.
func attachRedirect(e *Env, at nic, to, program string) error {
	var ifindex int
	err := netdev.InNamespace(at.namespace, func() error {
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
	if program == redirectOut {
		return attach(e, at.ingress(), objects.BareRedirectOut)
	}
	return attach(e, at.ingress(), objects.BareRedirect)
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

// attach attaches a program for as long as e lives.
func attach(e *Env, to hook, program *ebpf.Program) error {
	return netdev.InNamespace(to.namespace, func() error {
		dev, err := netlink.LinkByName(to.device)
		if err != nil {
			return fmt.Errorf("look for %s: %w", to.device, err)
		}
		l, err := link.AttachTCX(link.TCXOptions{
			Interface: dev.Attrs().Index,
			Program:   program,
			Attach:    to.attach,
		})
		if err != nil {
			return fmt.Errorf("attach to %s: %w", to.device, err)
		}
		e.cleanup(l.Close)
		return nil
	})
}
