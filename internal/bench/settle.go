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
	if err := passAll(all, 2); err != nil {
		return err
	}
	time.Sleep(settleTime)
	if err := passAll(all, 1); err != nil {
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

// passAll has each flow of forwarders that translate pass so many times.
func passAll(all []*forwarder, times int) error {
	type ends struct{ from, to nic }
	between := map[ends][]*forwarder{}
	for _, f := range all {
		if f.translates {
			key := ends{f.lane.from, f.lane.to}
			between[key] = append(between[key], f)
		}
	}
	for key, forwarders := range between {
		if err := passBetween(key.from, key.to, forwarders, times); err != nil {
			return err
		}
	}
	return nil
}

// passBetween has the other end send back what comes. Attaching takes longer than
// all packets, so that both families share it.
func passBetween(from, to nic, forwarders []*forwarder, times int) (err error) {
	var attached Env // for a moment
	defer func() { err = errors.Join(err, attached.close()) }()
	if err := attachReflector(&attached, to); err != nil {
		return err
	}
	answers, err := newSink(&attached, from.ingress())
	if err != nil {
		return err
	}
	for _, f := range forwarders {
		for range times {
			if err := f.pass(answers); err != nil {
				return fmt.Errorf("%s by %s: %w", f.heading.path.name, f.heading.family.name, err)
			}
		}
	}
	return nil
}

// pass sends one frame of each flow and waits for the answers.
func (f *forwarder) pass(answers *sink) error {
	before, err := answers.count()
	if err != nil {
		return err
	}
	if _, err := f.sender.send(f.heading.flows, lastCPU()); err != nil {
		return err
	}
	got, err := answers.arrived(before, f.heading.flows)
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
