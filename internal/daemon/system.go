package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/container"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/portspec"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// NAT returns the rules as iptables' nat table would list them.
func (b *backend) NAT(context.Context) ([]api.NATRule, error) {
	views, err := b.engine.Rules()
	if err != nil {
		return nil, err
	}
	rules := []api.NATRule{}
	for _, v := range views {
		rule := api.NATRule{
			Packets:      v.Counters.Flows,
			Bytes:        v.Counters.FlowBytes,
			TotalPackets: v.Counters.Packets,
			TotalBytes:   v.Counters.Bytes,
			Network:      v.Network.Name,
			Source:       "0.0.0.0/0",
			Destination:  "0.0.0.0/0",
		}
		switch v.Kind {
		case maps.RuleMasquerade:
			fillMasquerade(&rule, v)
		case maps.RulePublish:
			fillPublished(&rule, v)
		case maps.RuleAlias:
			fillAlias(&rule, v)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func fillMasquerade(rule *api.NATRule, v engine.RuleView) {
	rule.Kind, rule.Protocol = "masquerade", "all"
	rule.Source, rule.Destination = v.Network.Subnet.String(), "!"+v.Network.Subnet.String()
	rule.To = "uplink"
}

func fillAlias(rule *api.NATRule, v engine.RuleView) {
	rule.Kind, rule.Protocol, rule.Container = "alias", "all", v.Alias.Name
	rule.Destination = netip.PrefixFrom(v.Alias.Address, v.Alias.Address.BitLen()).String()
	var members []string
	for _, m := range v.Members {
		members = append(members, m.Address.String())
	}
	rule.To = strings.Join(members, ",")
}

func fillPublished(rule *api.NATRule, v engine.RuleView) {
	p := v.Port
	rule.Kind, rule.Protocol, rule.Container = "publish", portspec.ProtocolName(p.Protocol), v.Endpoint.Owner
	if !p.HostAddr.IsUnspecified() {
		rule.Destination = netip.PrefixFrom(p.HostAddr, 32).String()
	}
	rule.Ports = portspec.Span(p.First, p.Last)
	rule.To = fmt.Sprintf("%s:%s", v.Endpoint.Address, portspec.Span(p.Target, p.Target+(p.Last-p.First)))
}

func (b *backend) Info(context.Context) (api.Info, error) {
	name, _ := os.Hostname()
	info := api.Info{
		Name:          name,
		ServerVersion: b.options.Version,
		KernelVersion: kernelRelease(),
		Root:          b.options.Root,
		Networks:      len(b.engine.Networks()),
		Layout:        loader.Layout,
		AttachMode:    string(b.loader.Mode()),
		CgroupPath:    b.cgroup(),
		Uplinks:       b.datapath.uplinks(),
		Drops:         map[string]uint64{},
		MapEntries:    map[string]int{},
	}
	for _, r := range b.containers.List() {
		info.Containers++
		if r.State == container.Running {
			info.ContainersRunning++
		} else {
			info.ContainersStopped++
		}
	}
	for _, reason := range reasons.All() {
		n, err := b.maps.Drops(reason)
		if err != nil {
			return info, err
		}
		if n > 0 {
			info.Drops[reason.String()] = n
		}
	}
	occupancy, err := b.maps.Occupancy()
	if err != nil {
		return info, err
	}
	for name, t := range occupancy.Tables {
		info.MapEntries[name] = t.Entries
	}
	return info, nil
}

func (b *backend) Version(context.Context) (api.VersionInfo, error) {
	return api.VersionInfo{
		Version:       b.options.Version,
		APIVersion:    api.Version,
		GoVersion:     runtime.Version(),
		Os:            runtime.GOOS,
		Arch:          runtime.GOARCH,
		KernelVersion: kernelRelease(),
	}, nil
}
