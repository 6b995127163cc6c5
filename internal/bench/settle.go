package bench

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A flow is settled once it was answered, taken up again, and then again when
// it was older than sluice's nursery keeps what is at work.
const settleTime = 1100 * time.Millisecond

// settle makes every conntrack hold the forwarders' flows as established, and
// then opens the sinks.
func settle(e *Env, all []*forwarder) error {
	for range 2 {
		if err := passAll(all); err != nil {
			return err
		}
	}
	time.Sleep(settleTime)
	if err := passAll(all); err != nil {
		return err
	}
	sinks := map[hook]*sink{}
	for _, f := range all {
		if sinks[f.end] == nil {
			var err error
			if sinks[f.end], err = newSink(e, f.end); err != nil {
				return err
			}
		}
		f.sink = sinks[f.end]
	}
	return nil
}

func passAll(all []*forwarder) error {
	for _, f := range all {
		if !f.translates {
			continue
		}
		if err := f.pass(); err != nil {
			return fmt.Errorf("%s by %s: %w", f.heading.path.name, f.heading.family.name, err)
		}
	}
	return nil
}

// pass sends one frame of each flow and has it answered.
func (f *forwarder) pass() (err error) {
	var attached Env // for a moment
	defer func() { err = errors.Join(err, attached.close()) }()
	if err := attachReflector(&attached, f.lane.to); err != nil {
		return err
	}
	answers, err := newSink(&attached, f.lane.from.ingress())
	if err != nil {
		return err
	}
	if _, err := f.sender.send(f.heading.flows, lastCPU()); err != nil {
		return err
	}
	got, err := answers.arrived(0, f.heading.flows)
	if err == nil && got < uint64(f.heading.flows) {
		err = fmt.Errorf("%d of %d flows were answered", got, f.heading.flows)
	}
	return err
}

// checkConntrack returns errLeftOut where netfilter's conntrack, whose size is
// the whole machine's, cannot hold so many flows.
func checkConntrack(flows int) error {
	const path = "/proc/sys/net/netfilter/nf_conntrack_max"
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) { // not loaded; it comes with its default size
		return nil
	}
	if err != nil {
		return err
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if most < flows {
		return fmt.Errorf("%w: net.netfilter.nf_conntrack_max is %d, and %d flows are to be kept: raise it, or use fewer -flows", errLeftOut, most, flows)
	}
	return nil
}
