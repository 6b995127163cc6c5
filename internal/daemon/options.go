package daemon

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/sluice-net/sluice/internal/names"
	"github.com/sluice-net/sluice/loader"
)

// check refuses what could never work before anything is made.
func (o *Options) check() error {
	if o.Shim != "" {
		if err := checkProgram(o.Shim); err != nil {
			return fmt.Errorf("--shim: %w", err)
		}
	}
	if o.Cgroup != "" {
		if err := loader.CheckCgroup(o.Cgroup); err != nil {
			return fmt.Errorf("--cgroup: %w", err)
		}
	}
	if o.ReservePorts < 0 {
		return fmt.Errorf("--reserve-ports %d is no number of ports", o.ReservePorts)
	}
	_, err := o.nameServers()
	return err
}

func checkProgram(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is not a program", path)
	}
	return nil
}

// nameServers are those of --dns-upstream.
func (o *Options) nameServers() ([]netip.AddrPort, error) {
	servers, err := names.ParseServers(o.DNSUpstreams)
	if err != nil {
		return nil, fmt.Errorf("--dns-upstream: %w", err)
	}
	if len(servers) > names.MaxServers {
		return nil, fmt.Errorf("--dns-upstream is given %d times, and %d name servers at most are asked", len(servers), names.MaxServers)
	}
	return servers, nil
}
