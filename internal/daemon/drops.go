package daemon

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/apierr"
	"github.com/sluice-net/sluice/internal/apiserver"
	hooks "github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/monitor"
	"github.com/sluice-net/sluice/internal/packet"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/maps"
)

// reports are the datapath's maps as the monitor has them.
type reports struct{ *maps.Maps }

func (r reports) OpenReports() (monitor.Reader, error) { return r.Maps.OpenReports() }

func (reports) Uptime() (time.Duration, error) { return maps.Uptime() }

// WatchDrops returns the packets that are dropped from now on.
func (b *backend) WatchDrops(ctx context.Context, o api.DropOptions) (apiserver.Stream[api.Drop], error) {
	wanted, err := parseReasons(o.Reasons)
	if err != nil {
		return nil, err
	}
	name := ""
	if o.Container != "" {
		if name, err = b.containerName(o.Container); err != nil {
			return nil, err
		}
	}
	watcher, err := b.drops.Join()
	if err != nil {
		return nil, err
	}
	who := &directory{engine: b.engine, host: b.host}
	return func(emit func(api.Drop) error) error {
		return watcher.Run(ctx, func(r monitor.Report) error {
			if len(wanted) > 0 && !slices.Contains(wanted, r.Reason) {
				return nil
			}
			drop := who.describe(r)
			if name != "" && r.NotShown == 0 && drop.Sender != name && drop.Receiver != name {
				return nil
			}
			return emit(drop)
		})
	}, nil
}

func parseReasons(names []string) (wanted []reasons.Reason, err error) {
	for _, name := range names {
		reason, known := reasons.Named(name)
		if !known {
			var all []string
			for _, reason := range reasons.All() {
				all = append(all, reason.String())
			}
			return nil, apierr.BadParameter("no drop reason is called %q: there are %s", name, strings.Join(all, ", "))
		}
		wanted = append(wanted, reason)
	}
	return wanted, nil
}

// containerName is what the engine calls the endpoint of a container: that of
// the one whose sandbox it shares.
func (b *backend) containerName(ref string) (string, error) {
	r, err := b.containers.Get(ref)
	if err != nil {
		return "", err
	}
	if endpoint := b.containers.EndpointOf(r); endpoint.ID != "" {
		return endpoint.Owner, nil
	}
	return r.Name, nil
}

// describe says what a report is about.
func (d *directory) describe(r monitor.Report) api.Drop {
	drop := api.Drop{Time: time.Now(), Reason: r.Reason.String(), Description: r.Reason.Description(), NotShown: r.NotShown}
	if r.NotShown > 0 {
		return drop
	}
	event := r.Event
	if now, err := maps.Uptime(); err == nil {
		drop.Time = drop.Time.Add(time.Duration(event.Time) - now)
	}
	frame := event.Data[:min(int(event.Captured), len(event.Data))]
	about := packet.Of(frame)
	if event.Link == 0 {
		about = packet.OfIP(frame)
	}
	hook := hooks.Hook(event.Hook)
	drop.Hook, drop.Device = hook.String(), d.device(int(event.Ifindex))
	if hook == hooks.HookContainer {
		drop.Sender = d.onDevice(drop.Device)
	}
	drop.Receiver = d.receiver(about)
	drop.Packet, drop.Protocol = about.String(), about.Protocol
	drop.Source, drop.Destination = address(about.Source), address(about.Destination)
	drop.SourceMAC, drop.DestinationMAC = about.SourceMAC, about.DestinationMAC
	drop.Length = event.Length - min(event.Length, uint32(event.Link))
	drop.Frame = frame
	return drop
}

// address is an address, with the port if there is one.
func address(a netip.AddrPort) string {
	switch {
	case !a.IsValid():
		return ""
	case a.Port() == 0:
		return a.Addr().String()
	}
	return a.String()
}
