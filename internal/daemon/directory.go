package daemon

import (
	"net/netip"
	"slices"
	"time"

	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/hostnet"
	"github.com/sluice-net/sluice/internal/packet"
	"github.com/sluice-net/sluice/internal/portspec"
)

// directory finds who a packet is from and for. What it knows is a second old
// at most: a flood of packets must not ask the kernel and the engine for each.
type directory struct {
	engine *engine.Engine
	host   *hostnet.Host

	read      time.Time
	devices   map[int]string
	byDevice  map[string]engine.Endpoint
	byAddress map[netip.Addr]engine.Endpoint
	endpoints []engine.Endpoint
	own       []netip.Addr // of the host
}

func (d *directory) refresh() {
	if time.Since(d.read) < time.Second {
		return
	}
	d.read = time.Now()
	d.devices, d.byDevice, d.byAddress = map[int]string{}, map[string]engine.Endpoint{}, map[netip.Addr]engine.Endpoint{}
	d.endpoints = d.engine.Endpoints("")
	d.own, _ = d.host.Addresses() // without, a receiver is not named
	for _, ep := range d.endpoints {
		d.byDevice[ep.HostDevice] = ep
		for _, addr := range ep.Addresses() {
			d.byAddress[addr] = ep
		}
	}
}

func (d *directory) device(ifindex int) string {
	d.refresh()
	name, known := d.devices[ifindex]
	if !known {
		name = d.host.DeviceName(ifindex)
		d.devices[ifindex] = name
	}
	return name
}

// onDevice names the container whose veth this is, "" if it is none.
func (d *directory) onDevice(name string) string {
	d.refresh()
	return d.byDevice[name].Owner
}

// receiver names the container that has the destination address, or the port
// that is published there; "" if none has.
func (d *directory) receiver(about packet.Summary) string {
	d.refresh()
	addr, port := about.Destination.Addr(), about.Destination.Port()
	if ep, known := d.byAddress[addr]; known {
		return ep.Owner
	}
	if port == 0 {
		return ""
	}
	for _, ep := range d.endpoints {
		for _, p := range ep.Ports {
			if portspec.ProtocolName(p.Protocol) == about.Protocol && p.First <= port && port <= p.Last && d.at(p, addr) {
				return ep.Owner
			}
		}
	}
	return ""
}

// at reports whether a port is published on an address of the host.
func (d *directory) at(p engine.PublishedPort, addr netip.Addr) bool {
	return p.HostAddr == addr || p.HostAddr.IsUnspecified() && p.HostAddr.Is4() == addr.Is4() && slices.Contains(d.own, addr)
}
