package daemon

import (
	"net/netip"

	"github.com/sluice-net/sluice/internal/names"
)

// resolvConf is where the host's name servers are.
const resolvConf = "/etc/resolv.conf"

// openNames makes what serves names; the containers say where.
func (i *instance) openNames() error {
	servers, err := i.options.nameServers()
	if err != nil {
		return err
	}
	upstreams := func() []netip.AddrPort { return servers }
	if len(servers) == 0 {
		upstreams = names.NewHostServers(resolvConf).Servers
	}
	i.names = names.NewService(names.Options{
		Directory: i.engine,
		Forwarder: names.NewClient(upstreams),
		Attach:    i.loader.AttachResolver,
		Log:       i.log,
	})
	i.onClose(func() {
		if err := i.names.Close(); err != nil {
			i.log.Error("close the name servers", "error", err)
		}
	})
	return nil
}
