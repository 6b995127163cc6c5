package daemon

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-net/sluice/internal/api"
	hooks "github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/dirs"
	"github.com/sluice-net/sluice/internal/doctor"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/firewall"
	"github.com/sluice-net/sluice/internal/hostnet"
	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/portreserve"
	"github.com/sluice-net/sluice/internal/portspec"
	"github.com/sluice-net/sluice/loader"
	"github.com/sluice-net/sluice/maps"
)

// check gathers facts and returns what they amount to. Its name stands for it
// when they cannot be had.
type check struct {
	name string
	run  func() ([]api.Finding, error)
}

func runChecks(checks []check) []api.Finding {
	findings := []api.Finding{}
	for _, c := range checks {
		found, err := c.run()
		if err != nil {
			found = doctor.Failed(c.name, err)
		}
		findings = append(findings, found...)
	}
	return findings
}

// Doctor checks the host and the instance.
func (b *backend) Doctor(context.Context) ([]api.Finding, error) {
	i := b.instance
	return runChecks([]check{
		{"daemon", func() ([]api.Finding, error) { return doctor.Daemon(i.options.Version, true), nil }},
		{"kernel", checkKernel},
		{"fallbacks", func() ([]api.Finding, error) { return checkFallbacks(i.loader.Mode()) }},
		{"jit", checkJIT},
		{"bpffs", func() ([]api.Finding, error) { return checkBPFFS(i.dirs, true) }},
		{"cgroup2", i.checkCgroup},
		{"programs", i.checkPrograms},
		{"uplinks", i.checkUplinks},
		{"devices", i.checkDevices},
		{"ip-rules", func() ([]api.Finding, error) { return checkRules(i.host, i.engine.Owns) }},
		{"conntrack", i.checkConntrack},
		{"masquerade-ports", i.checkPorts},
		{"firewall", checkNetfilter},
		{"rp_filter", checkReversePath},
	}), nil
}

// Doctor checks the host where no daemon runs: that of the calling thread's
// network namespace.
func Doctor(o Options) ([]api.Finding, error) {
	if err := requireRoot(); err != nil {
		return nil, err
	}
	d := dirs.New(o.Root)
	host, err := hostnet.Open()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	marked, err := markedDevices(d)
	if err != nil {
		return nil, err
	}
	ours := func(device string) bool { return slices.Contains(marked, device) }
	return runChecks([]check{
		{"daemon", func() ([]api.Finding, error) { return doctor.Daemon("", false), nil }},
		{"kernel", checkKernel},
		{"fallbacks", func() ([]api.Finding, error) { return checkFallbacks(loader.AttachTCX) }},
		{"jit", checkJIT},
		{"bpffs", func() ([]api.Finding, error) { return checkBPFFS(d, false) }},
		{"ip-rules", func() ([]api.Finding, error) { return checkRules(host, ours) }},
		{"firewall", checkNetfilter},
		{"rp_filter", checkReversePath},
	}), nil
}

// markedDevices are those that an earlier daemon of the instance made.
func markedDevices(d dirs.Dirs) ([]string, error) {
	if unused(d) {
		return nil, nil
	}
	name, err := instanceName(d)
	if err != nil {
		return nil, err
	}
	devices, err := netdev.Open(name, d.Borrowed())
	if err != nil {
		return nil, err
	}
	defer devices.Close()
	return devices.Marked()
}

func checkKernel() ([]api.Finding, error) {
	return doctor.Kernel(kernelRelease(), loader.CheckKernel()), nil
}

func checkFallbacks(mode loader.AttachMode) ([]api.Finding, error) {
	kernel, err := loader.KernelFeatures()
	return doctor.Fallbacks(kernel, loader.HaveTCX(), mode), err
}

func checkJIT() ([]api.Finding, error) {
	compiles, err := loader.JITCompiles()
	return doctor.JIT(compiles), err
}

func checkBPFFS(d dirs.Dirs, running bool) ([]api.Finding, error) {
	m := doctor.Mounts{BPF: d.BPF(), Running: running}
	var err error
	if m.Mounted, err = loader.BPFMounted(d.BPF()); err != nil {
		return nil, err
	}
	m.Private, err = loader.PrivateMounts()
	return doctor.BPFFS(m), err
}

func (i *instance) checkCgroup() ([]api.Finding, error) {
	attached, err := i.loader.InspectSockets(i.cgroup())
	return doctor.Cgroup(i.cgroup(), i.options.Cgroup == "", attached), err
}

// checkPrograms looks at every device that should have a program of ours.
func (i *instance) checkPrograms() ([]api.Finding, error) {
	var all []doctor.Hooked
	look := func(hook hooks.Hook, device string) error {
		ifindex, err := i.host.Ifindex(device)
		if err != nil || ifindex == 0 {
			return err // the check of devices says so
		}
		attachment, err := i.loader.Inspect(hook, device, ifindex)
		all = append(all, doctor.Hooked{Hook: hook.String(), Device: device, Attachment: attachment})
		return err
	}
	for _, u := range i.seen.Load().Uplinks {
		if err := look(hooks.HookUplink, u.Name); err != nil {
			return nil, err
		}
	}
	for _, n := range i.engine.Networks() {
		if n.Driver != engine.DriverBridge {
			continue
		}
		if err := look(hooks.HookBridge, n.Bridge); err != nil {
			return nil, err
		}
		for _, ep := range i.engine.Endpoints(n.ID) {
			if err := look(hooks.HookContainer, ep.HostDevice); err != nil {
				return nil, err
			}
		}
	}
	return doctor.Programs(all), nil
}

func (i *instance) checkUplinks() ([]api.Finding, error) {
	var uplinks []doctor.Uplink
	for _, u := range i.seen.Load().Uplinks {
		uplink := doctor.Uplink{Uplink: u}
		var err error
		if uplink.Routes, uplink.Default, err = i.host.RoutesBy(u.Ifindex, 4); err != nil {
			return nil, err
		}
		if uplink.Routes6, uplink.Default6, err = i.host.RoutesBy(u.Ifindex, 6); err != nil {
			return nil, err
		}
		if uplink.XDP, err = loader.XDP(u.Ifindex); err != nil {
			return nil, err
		}
		uplinks = append(uplinks, uplink)
	}
	ipv6 := slices.ContainsFunc(i.engine.Networks(), engine.Network.HasIPv6)
	return doctor.Uplinks(uplinks, ipv6), nil
}

func (i *instance) checkDevices() ([]api.Finding, error) {
	devices, neighbours, err := i.engine.Check()
	if err != nil {
		return nil, err
	}
	count := 1 // the lending device
	for _, n := range i.engine.Networks() {
		if n.Driver == engine.DriverBridge {
			count += 1 + len(i.engine.Endpoints(n.ID))
		}
	}
	return slices.Concat(doctor.Devices(devices, count), doctor.Neighbours(neighbours)), nil
}

func checkRules(host *hostnet.Host, ours func(string) bool) ([]api.Finding, error) {
	rules, err := host.RulesByDevice()
	return doctor.Rules(rules, ours), err
}

func (i *instance) checkPorts() ([]api.Finding, error) {
	p := doctor.Ports{
		LoadedFirst: i.localPorts[0], LoadedLast: i.localPorts[1], OursNumber: i.options.ReservePorts,
		Published: map[string]portreserve.Ports{}, Unreachable: map[netip.Addr]map[string]portreserve.Ports{},
	}
	var err error
	if p.LocalFirst, p.LocalLast, err = i.host.EphemeralPorts(); err != nil {
		return nil, err
	}
	if p.Reserved, err = portreserve.Reserved(); err != nil {
		return nil, err
	}
	for _, ep := range i.engine.Endpoints("") {
		for _, port := range ep.Ports {
			addPort(p.Published, port)
		}
	}
	for _, port := range i.engine.Unreachable() {
		if p.Unreachable[port.HostAddr] == nil {
			p.Unreachable[port.HostAddr] = map[string]portreserve.Ports{}
		}
		addPort(p.Unreachable[port.HostAddr], port)
	}
	return slices.Concat(doctor.Masquerade(p), doctor.Published(p)), nil
}

// addPort adds a published port to those of its protocol.
func addPort(ports map[string]portreserve.Ports, p engine.PublishedPort) {
	protocol := portspec.ProtocolName(p.Protocol)
	ports[protocol] = ports[protocol].With(portreserve.Range(p.First, p.Last))
}

func (i *instance) checkConntrack() ([]api.Finding, error) {
	flows, err := i.maps.Flows(i.loader.Timeouts().Of)
	if err != nil {
		return nil, err
	}
	tables := []doctor.Flows{{Family: "IPv4"}, {Family: "IPv6"}}
	for family, name := range []string{"flows4", "flows6"} {
		tables[family].Room = maps.FlowCapacity(i.loader.Maps()[name]) / 2
	}
	for _, f := range flows {
		if f.State&hooks.FlowTenured == 0 {
			continue
		}
		if f.Source.Addr().Is4() {
			tables[0].Live++
		} else {
			tables[1].Live++
		}
	}
	return doctor.Conntrack(tables, i.loader.KeptSizes()), nil
}

func checkNetfilter() ([]api.Finding, error) {
	dropping, err := firewall.Dropping()
	if err != nil {
		return nil, err
	}
	n := doctor.Netfilter{Dropping: dropping}
	for _, name := range []string{"bridge-nf-call-iptables", "bridge-nf-call-ip6tables"} {
		value, err := os.ReadFile(filepath.Join("/proc/sys/net/bridge", name))
		if err == nil && strings.TrimSpace(string(value)) != "0" {
			n.BridgeCalls = append(n.BridgeCalls, "net.bridge."+name)
		}
	}
	return slices.Concat(doctor.Firewall(n), doctor.BridgeNetfilter(n)), nil
}

// checkReversePath lists where rp_filter is on.
func checkReversePath() ([]api.Finding, error) {
	paths, err := filepath.Glob("/proc/sys/net/ipv4/conf/*/rp_filter")
	if err != nil {
		return nil, err
	}
	var on []string
	for _, path := range paths {
		value, err := os.ReadFile(path)
		text := strings.TrimSpace(string(value))
		if device := filepath.Base(filepath.Dir(path)); err == nil && text != "0" && device != "default" && device != "lo" {
			on = append(on, device+"="+text)
		}
	}
	return doctor.ReversePath(on), nil
}
