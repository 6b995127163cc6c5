package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/maps"
)

var (
	packetsDesc = prometheus.NewDesc("sluice_packets_total",
		"Packets that the programs have seen, by hook and by verdict.", []string{"hook", "verdict"}, nil)
	dropsDesc = prometheus.NewDesc("sluice_drops_total",
		"Packets that the programs have dropped, by reason.", []string{"reason"}, nil)
	retriesDesc = prometheus.NewDesc("sluice_masquerade_retries_total",
		"Source ports that masquerade has tried and found taken.", nil, nil)
	flowsDesc = prometheus.NewDesc("sluice_conntrack_entries",
		"Entries of the conntrack table, two per flow; those that have timed out count until their place is taken.", []string{"family", "protocol"}, nil)
	entriesDesc = prometheus.NewDesc("sluice_map_entries",
		"Entries of a BPF map.", []string{"map"}, nil)
	capacityDesc = prometheus.NewDesc("sluice_map_capacity",
		"Entries that a BPF map has room for.", []string{"map"}, nil)
)

// hooks are those that count packets. The socket hook sees none.
var hooks = []datapath.Hook{datapath.HookContainer, datapath.HookUplink, datapath.HookBridge}

// kinds are the flows that there can be, with the values of their labels.
var kinds = []struct {
	kind             maps.FlowKind
	family, protocol string
}{
	{maps.FlowKind{Family: 4, Protocol: unix.IPPROTO_TCP}, "ipv4", "tcp"},
	{maps.FlowKind{Family: 4, Protocol: unix.IPPROTO_UDP}, "ipv4", "udp"},
	{maps.FlowKind{Family: 4, Protocol: unix.IPPROTO_ICMP}, "ipv4", "icmp"},
	{maps.FlowKind{Family: 6, Protocol: unix.IPPROTO_TCP}, "ipv6", "tcp"},
	{maps.FlowKind{Family: 6, Protocol: unix.IPPROTO_UDP}, "ipv6", "udp"},
	{maps.FlowKind{Family: 6, Protocol: unix.IPPROTO_ICMPV6}, "ipv6", "icmpv6"},
}

// datapathCollector reads the kernel's maps at each scrape.
type datapathCollector struct{ source Datapath }

func (c *datapathCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{packetsDesc, dropsDesc, retriesDesc, flowsDesc, entriesDesc, capacityDesc} {
		out <- desc
	}
}

func (c *datapathCollector) Collect(out chan<- prometheus.Metric) {
	c.packets(out)
	c.drops(out)
	c.retries(out)
	c.occupancy(out)
}

func (c *datapathCollector) packets(out chan<- prometheus.Metric) {
	for _, hook := range hooks {
		for verdict := range datapath.Verdicts {
			n, err := c.source.Packets(hook, verdict)
			if err != nil {
				out <- prometheus.NewInvalidMetric(packetsDesc, err)
				return
			}
			out <- counter(packetsDesc, n, hook.String(), verdict.String())
		}
	}
}

func (c *datapathCollector) drops(out chan<- prometheus.Metric) {
	for _, reason := range reasons.All() {
		n, err := c.source.Drops(reason)
		if err != nil {
			out <- prometheus.NewInvalidMetric(dropsDesc, err)
			return
		}
		out <- counter(dropsDesc, n, reason.String())
	}
}

func (c *datapathCollector) retries(out chan<- prometheus.Metric) {
	n, err := c.source.MasqueradeRetries()
	if err != nil {
		out <- prometheus.NewInvalidMetric(retriesDesc, err)
		return
	}
	out <- counter(retriesDesc, n)
}

func (c *datapathCollector) occupancy(out chan<- prometheus.Metric) {
	o, err := c.source.Occupancy()
	if err != nil {
		out <- prometheus.NewInvalidMetric(entriesDesc, err)
		return
	}
	for _, k := range kinds {
		out <- gauge(flowsDesc, o.Flows[k.kind], k.family, k.protocol)
	}
	for name, t := range o.Tables {
		out <- gauge(entriesDesc, t.Entries, name)
		out <- gauge(capacityDesc, t.Capacity, name)
	}
}

func counter(desc *prometheus.Desc, n uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
}

func gauge(desc *prometheus.Desc, n int, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), labels...)
}
