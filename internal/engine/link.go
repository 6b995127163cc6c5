package engine

import (
	"maps"
	"slices"
	"time"
)

// A program that a link attaches is the cheapest for packets, but the kernel takes
// a grace period of RCU to attach it, under the lock of all devices. So a new
// endpoint gets its program by a filter of tc, and the link once verbs leave time
// for it. A daemon that dies before has the next one do it.

// linking is when filters are replaced by links.
type linking struct {
	timer *time.Timer
	since time.Time // when the first of those that wait came; zero when none does
	held  bool      // for tests
}

// filter attaches an endpoint's program for now.
func (e *Engine) filter(ep Endpoint, ifindex int) error {
	e.filtered[ep.ID] = true
	return e.datapath.FilterContainer(ep.HostDevice, ifindex)
}

// linkLater has filters replaced once no endpoint was made for a while.
func (e *Engine) linkLater() {
	if e.linking.held {
		return
	}
	now := time.Now()
	if e.linking.since.IsZero() {
		e.linking.since = now
	}
	e.linking.timer.Reset(min(burialQuiet, max(0, e.linking.since.Add(burialPatience).Sub(now))))
}

// linkFiltered gives every endpoint that waits its link, one by one, so that verbs
// can come in between.
func (e *Engine) linkFiltered() {
	var waiting []string
	_ = e.during(func() error {
		e.linking.since = time.Time{}
		waiting = slices.Collect(maps.Keys(e.filtered))
		return nil
	})
	for _, id := range waiting {
		_ = e.during(func() error {
			if e.filtered[id] {
				e.linkOne(id)
			}
			return nil
		})
	}
}

// linkAll is linkFiltered for who holds e.verb.
func (e *Engine) linkAll() {
	e.linking.since = time.Time{}
	for id := range e.filtered {
		e.linkOne(id)
	}
}

// linkOne leaves an endpoint that cannot have its link to the next repair; e.verb
// is held.
func (e *Engine) linkOne(id string) {
	if err := e.link(id); err != nil {
		e.log.Error("an endpoint keeps a program that costs its packets more", "endpoint", id, "error", err)
	}
}

func (e *Engine) link(id string) error {
	ep, n, err := e.endpointAndNetwork(id)
	if err != nil {
		return err
	}
	ifindex, err := e.existing(ep.HostDevice)
	if err != nil {
		return err
	}
	if err := e.attachContainer(ep, ifindex); err != nil {
		return err
	}
	return e.writeEndpoint(n, ep, ifindex, true)
}

// attachContainer attaches an endpoint's program by a link. One that has a filter
// is final until it is written again.
func (e *Engine) attachContainer(ep Endpoint, ifindex int) error {
	if err := e.datapath.AttachContainer(ep.HostDevice, ifindex); err != nil {
		return err
	}
	delete(e.filtered, ep.ID)
	return nil
}

// findFilter notes whether an endpoint was left with a filter.
func (e *Engine) findFilter(ep Endpoint, ifindex int) error {
	if ifindex == 0 {
		return nil
	}
	found, err := e.datapath.ContainerFiltered(ifindex)
	if found {
		e.filtered[ep.ID] = true
	}
	return err
}

func (e *Engine) detachContainer(ep Endpoint) error {
	delete(e.filtered, ep.ID)
	return detachAdopted(ep.Owned, ep.HostDevice, e.datapath.DetachContainer)
}
