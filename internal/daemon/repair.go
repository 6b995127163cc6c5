package daemon

import (
	"context"
	"errors"
	"time"
)

const (
	// Changes of our devices are looked at when there were none for settle: most
	// are our own, and done by then. Those that go on are after patience.
	settle   = 100 * time.Millisecond
	patience = time.Second

	// defaultRepairInterval is how often everything is compared with the intent:
	// of emptied maps and removed pins the kernel tells nobody.
	defaultRepairInterval = time.Minute
)

func (o Options) repairInterval() time.Duration {
	if o.RepairInterval == 0 {
		return defaultRepairInterval
	}
	return o.RepairInterval
}

// keepRepaired repairs, until the instance is closed, what somebody else
// changes: devices at once, the rest at intervals.
func (i *instance) keepRepaired() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(i.options.repairInterval())
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case names := <-i.changed:
				i.report(i.engine.RepairDevices(ctx, i.settled(ctx, names)))
			case <-ticker.C:
				i.report(errors.Join(i.engine.Repair(ctx), i.attachSockets()))
			}
		}
	}()
	i.unrepair = func() { cancel(); <-ended }
	i.onClose(i.unrepair)
}

// settled adds the devices that change next, until they rest.
func (i *instance) settled(ctx context.Context, names []string) []string {
	for end := time.After(patience); ; {
		select {
		case more := <-i.changed:
			names = append(names, more...)
			continue
		case <-time.After(settle):
		case <-end:
		case <-ctx.Done():
		}
		return names
	}
}

func (i *instance) report(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		i.log.Error("not everything could be repaired", "error", err)
	}
}

// devicesChanged is told of our devices by the watcher, whom it must not hold up:
// what finds no room is left to the next interval.
func (i *instance) devicesChanged(names []string) {
	select {
	case i.changed <- names:
	default:
	}
}
