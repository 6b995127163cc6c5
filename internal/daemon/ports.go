package daemon

import (
	"fmt"

	"github.com/sluice-net/sluice/internal/dirs"
	"github.com/sluice-net/sluice/internal/portreserve"
)

// leastLocalPorts is how many ports --reserve-ports leaves to the host's own
// connections.
const leastLocalPorts = 1024

// reservePorts reserves as many ports as were asked for at the end of
// ip_local_port_range, for masquerade, and returns what is left of that. What an
// earlier daemon reserved besides is given back.
func (i *instance) reservePorts(first, last uint16) (newLast uint16, err error) {
	if most := int(last) - int(first) + 1 - leastLocalPorts; i.options.ReservePorts > max(0, most) {
		return 0, fmt.Errorf("--reserve-ports %d leaves the host fewer than %d ports of net.ipv4.ip_local_port_range (%d-%d): use %d or less",
			i.options.ReservePorts, leastLocalPorts, first, last, max(0, most))
	}
	newLast = last - uint16(i.options.ReservePorts)
	var want portreserve.Ports
	if newLast < last {
		want = portreserve.Range(newLast+1, last)
	}
	host, err := currentHost()
	if err != nil {
		return 0, err
	}
	return newLast, portreserve.Keep(i.dirs.ReservedPorts(), host.String(), want)
}

// releasePorts gives back what any daemon of the instance reserved.
func releasePorts(d dirs.Dirs) error {
	if absent(d.ReservedPorts()) {
		return nil
	}
	host, err := currentHost()
	if err != nil {
		return err
	}
	return portreserve.Keep(d.ReservedPorts(), host.String(), portreserve.Ports{})
}
