package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/portspec"
)

var (
	portLabels = []string{"protocol", "host_ip", "host_port", "container", "network"}

	portPacketsDesc = prometheus.NewDesc("sluice_published_port_packets_total",
		"Packets that were translated for a published port, in both directions. A range is one series.", portLabels, nil)
	portFlowsDesc = prometheus.NewDesc("sluice_published_port_flows_total",
		"Flows that a published port has led to its container, those of the host's own processes included.", portLabels, nil)
	selectionsDesc = prometheus.NewDesc("sluice_alias_selections_total",
		"Flows that an alias has handed out to its members in turn.", []string{"network", "alias"}, nil)
	addressesDesc = prometheus.NewDesc("sluice_ipam_addresses",
		"Addresses of a network's subnet: used by endpoints and aliases, reserved, or free. Those that are free of more than 2^32 are not counted.",
		[]string{"network", "family", "state"}, nil)
)

// engineCollector reads the intent, and the counters of what is in it, at each
// scrape.
type engineCollector struct{ source Engine }

func (c *engineCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{portPacketsDesc, portFlowsDesc, selectionsDesc, addressesDesc} {
		out <- desc
	}
}

func (c *engineCollector) Collect(out chan<- prometheus.Metric) {
	c.ports(out)
	c.aliases(out)
	c.addresses(out)
}

func (c *engineCollector) ports(out chan<- prometheus.Metric) {
	views, err := c.source.PublishedPorts()
	if err != nil {
		out <- prometheus.NewInvalidMetric(portPacketsDesc, err)
		return
	}
	for _, v := range views {
		labels := prometheus.MakeLabelPairs(portPacketsDesc, []string{
			portspec.ProtocolName(v.Port.Protocol), v.Port.HostAddr.String(), portspec.Span(v.Port.First, v.Port.Last),
			v.Endpoint.Owner, v.Network.Name,
		})
		out <- portCounter{portPacketsDesc, labels, float64(v.Counters.Packets)}
		out <- portCounter{portFlowsDesc, labels, float64(v.Counters.Flows)}
	}
}

// portCounter is a counter that shares its labels with another of the same
// port: there can be thousands.
type portCounter struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair
	value  float64
}

func (p portCounter) Desc() *prometheus.Desc { return p.desc }

func (p portCounter) Write(out *dto.Metric) error {
	out.Label, out.Counter = p.labels, &dto.Counter{Value: &p.value}
	return nil
}

func (c *engineCollector) aliases(out chan<- prometheus.Metric) {
	views, err := c.source.AliasSelections()
	if err != nil {
		out <- prometheus.NewInvalidMetric(selectionsDesc, err)
		return
	}
	for _, v := range views {
		out <- counter(selectionsDesc, v.Selections, v.Network.Name, v.Name)
	}
}

func (c *engineCollector) addresses(out chan<- prometheus.Metric) {
	uses, err := c.source.AddressUse()
	if err != nil {
		out <- prometheus.NewInvalidMetric(addressesDesc, err)
		return
	}
	for _, u := range uses {
		family := "ipv4"
		if u.Subnet.Addr().Is6() {
			family = "ipv6"
		}
		out <- gauge(addressesDesc, u.Used, u.Network.Name, family, "used")
		out <- gauge(addressesDesc, u.Reserved, u.Network.Name, family, "reserved")
		if u.Free != engine.Countless {
			out <- gauge(addressesDesc, u.Free, u.Network.Name, family, "free")
		}
	}
}
