package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/maps"
)

// Upgrade is what Open has made of the maps of another layout. One whose keys and
// values have not changed stays; the entries of others are carried over by the
// names of their fields, and where that cannot be done the map begins empty.
type Upgrade struct {
	From    []string         // the layouts: "v1"
	Carried map[string]int   // maps that are new, and how many entries they were given
	Lost    map[string]error // maps that begin empty, and why
}

// Upgraded returns nil when the maps had this layout already.
func (l *Loader) Upgraded() *Upgrade { return l.upgraded }

// beginUpgrade looks for pins of other layouts. When there are some, and none of
// this one, the maps are made in a place of their own until they are filled: a
// daemon that is killed meanwhile leaves nothing that the next one would believe.
func (l *Loader) beginUpgrade() (others []pins, err error) {
	others, begun, err := l.layouts()
	if err != nil || len(others) == 0 {
		return nil, err
	}
	if begun {
		begun, err = l.keepBegun(others)
	}
	if begun || err != nil {
		return others, err
	}
	l.pins = l.pins.unfinished()
	return others, l.shareMaps(others)
}

// layouts returns the pins of other layouts, and whether there are some of this one.
// It removes those that were never finished, by whichever version.
func (l *Loader) layouts() (others []pins, own bool, err error) {
	entries, err := os.ReadDir(l.pins.root)
	if err != nil {
		return nil, false, fmt.Errorf("read the bpffs: %w", err)
	}
	for _, entry := range entries {
		switch name := entry.Name(); {
		case name == l.pins.version:
			own = true
		case !strings.HasPrefix(name, "v"):
		case strings.HasSuffix(name, unfinishedMark):
			if err := os.RemoveAll(filepath.Join(l.pins.root, name)); err != nil {
				return nil, false, fmt.Errorf("remove an unfinished upgrade: %w", err)
			}
		default:
			others = append(others, pins{l.pins.root, name})
		}
	}
	return others, own, nil
}

// keepBegun reports whether this layout's pins are as good as those of others: some
// of the links are with them. Where others have them all, their programs may have
// been at work for long, and ours go.
func (l *Loader) keepBegun(others []pins) (bool, error) {
	own, err := l.pins.linkCount()
	if own > 0 || err != nil {
		return true, err
	}
	for _, p := range others {
		n, err := p.linkCount()
		if err != nil {
			return false, err
		}
		if n > 0 {
			return false, os.RemoveAll(l.pins.layout())
		}
	}
	return true, nil
}

// upgrade fills the maps, gives the links that are there the new programs, and
// removes the other layouts' pins. In between, programs of both layouts are at
// work for some milliseconds: what begins then is carried over in the end, and
// no connection of TCP is reset meanwhile.
func (l *Loader) upgrade(others []pins) error {
	l.upgraded = &Upgrade{Carried: map[string]int{}, Lost: map[string]error{}}
	for _, from := range others {
		l.upgraded.From = append(l.upgraded.From, from.version)
		if err := l.carryMaps(from); err != nil {
			return err
		}
	}
	if err := l.finishPins(); err != nil {
		return err
	}
	if err := l.whileCarrying(others, func() error { return l.takeOver(others) }); err != nil {
		return err
	}
	if err := l.sayCarrying(others, carryingAfter); err != nil {
		return err
	}
	for _, from := range others {
		if err := os.RemoveAll(from.layout()); err != nil {
			return err
		}
	}
	return nil
}

// takeOver gives links the new programs, and then carries over what has begun meanwhile.
func (l *Loader) takeOver(others []pins) error {
	for _, from := range others {
		if err := l.partCursors(from); err != nil {
			return err
		}
		if err := l.takeLinks(from); err != nil {
			return err
		}
	}
	for _, from := range others {
		if err := l.carryFlows(from); err != nil {
			return err
		}
	}
	return nil
}

// carryingAtMost is when programs give a flow up that is carried over by a loader
// that does not come to its end.
const carryingAtMost = 10 * time.Second

// whileCarrying tells programs that flows are on their way until work returns, which
// takes as long as there are flows.
func (l *Loader) whileCarrying(others []pins, work func() error) error {
	if err := l.sayCarrying(others, carryingAtMost); err != nil {
		return err
	}
	over, said := make(chan struct{}), make(chan error, 1)
	go func() { said <- l.sayCarryingUntil(over, others) }()
	err := work()
	close(over)
	return errors.Join(err, <-said)
}

func (l *Loader) sayCarryingUntil(over <-chan struct{}, others []pins) error {
	again := time.NewTicker(carryingAtMost / 2)
	defer again.Stop()
	for {
		select {
		case <-over:
			return nil
		case <-again.C:
			if err := l.sayCarrying(others, carryingAtMost); err != nil {
				return err
			}
		}
	}
}

// carryingAfter is for packets that looked for their flow just before it came.
const carryingAfter = 50 * time.Millisecond

// sayCarrying tells the programs of this layout and of others for how long flows
// may be on their way from now on.
func (l *Loader) sayCarrying(others []pins, d time.Duration) error {
	now, err := maps.Uptime()
	if err != nil {
		return err
	}
	until := uint64((now + d).Nanoseconds())
	const name = "carrying_until"
	tell := func(m *ebpf.Map) error {
		if m.Type() != ebpf.Array || m.ValueSize() != 8 {
			return nil // another layout's, which means something else by it
		}
		return m.Put(uint32(0), until)
	}
	if err := tell(l.maps[name]); err != nil {
		return fmt.Errorf("write to %s: %w", name, err)
	}
	for _, from := range others {
		if err := from.withMap(name, tell); err != nil {
			return fmt.Errorf("write to %s of %s: %w", name, from.version, err)
		}
	}
	return nil
}

// finishPins puts the filled maps where they belong.
func (l *Loader) finishPins() error {
	final := pinsOf(l.pins.root)
	if l.pins == final {
		return nil // an earlier daemon came as far
	}
	if err := os.Rename(l.pins.layout(), final.layout()); err != nil {
		return err
	}
	l.pins = final
	return nil
}
