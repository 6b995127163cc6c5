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

// The source or destination of a rule that is for all.
const (
	everywhere4 = "0.0.0.0/0"
	everywhere6 = "::/0"
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
			Source:       everywhere4,
			Destination:  everywhere4,
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
	var source, destination []string
	for _, subnet := range v.Network.Subnets() {
		source, destination = append(source, subnet.String()), append(destination, "!"+subnet.String())
	}
	rule.Source, rule.Destination = strings.Join(source, ","), strings.Join(destination, ",")
	rule.To = "uplink"
}

func fillAlias(rule *api.NATRule, v engine.RuleView) {
	rule.Kind, rule.Protocol, rule.Container = "alias", "all", v.Alias.Name
	var vips, members []string
	for _, addr := range v.Alias.Addresses() {
		vips = append(vips, netip.PrefixFrom(addr, addr.BitLen()).String())
	}
	for _, m := range v.Members {
		for _, addr := range m.Addresses() {
			members = append(members, addr.String())
		}
	}
	if len(vips) > 1 {
		rule.Source += "," + everywhere6
	}
	rule.Destination, rule.To = strings.Join(vips, ","), strings.Join(members, ",")
}

func fillPublished(rule *api.NATRule, v engine.RuleView) {
	p := v.Port
	rule.Kind, rule.Protocol, rule.Container = "publish", portspec.ProtocolName(p.Protocol), v.Endpoint.Owner
	target := v.Endpoint.Address.String()
	if p.HostAddr.Is6() {
		target = "[" + v.Endpoint.Address6.String() + "]"
		rule.Source, rule.Destination = everywhere6, everywhere6
	}
	if !p.HostAddr.IsUnspecified() {
		rule.Destination = netip.PrefixFrom(p.HostAddr, p.HostAddr.BitLen()).String()
	}
	rule.Ports = portspec.Span(p.First, p.Last)
	rule.To = fmt.Sprintf("%s:%s", target, portspec.Span(p.Target, p.Target+(p.Last-p.First)))
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
