package e2e

import (
	"errors"
	"net"
	"os"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/lab"
)

// TestDoctorFindsWhatIsBroken breaks one thing after the other; each is found,
// and nothing else once it is whole again.
func TestDoctorFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("network", "create", "--subnet=172.20.0.0/16", "custombridge")
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	runServer(l, "m0", "tcp-echo", ":80", "--network=custombridge", "--network-alias=rr")
	f := families[0]
	l.Host.Address("eth0", f.second+f.prefix)
	f.runOnSecond(l, "net01", "tcp-echo", ":80", "-p", port(f.second, "8081:80"))
	expectHealthy(l)
	veth := vethOf(l, "net00")
	for _, broken := range []struct {
		name          string
		do, undo      func() error
		check, status string
		words         string
	}{
		{"a sysctl of a bridge",
			func() error { return hostWrite(l, "ipv4/conf/sluice0/route_localnet", "0") },
			func() error { return hostWrite(l, "ipv4/conf/sluice0/route_localnet", "1") },
			"devices", api.FindingProblem, "net.ipv4.conf.sluice0.route_localnet is 0"},
		{"a sysctl of a veth",
			func() error { return hostWrite(l, "ipv6/conf/"+veth+"/disable_ipv6", "0") },
			func() error { return hostWrite(l, "ipv6/conf/"+veth+"/disable_ipv6", "1") },
			"devices", api.FindingProblem, "net.ipv6.conf." + veth + ".disable_ipv6 is 0"},
		{"an endpoint's neighbour entry",
			func() error { return changeNeighbour(l, "sluice0", "172.17.0.2", netlink.NeighDel) },
			func() error { return changeNeighbour(l, "sluice0", "172.17.0.2", netlink.NeighSet) },
			"neighbours", api.FindingProblem, "172.17.0.2 is no permanent neighbour on sluice0"},
		{"a rule that cannot match",
			func() error { return changeRule(l, "sluice0", netlink.RuleAdd) },
			func() error { return changeRule(l, "sluice0", netlink.RuleDel) },
			"ip-rules", api.FindingProblem, "ip rule 100 (iif sluice0) never matches"},
		{"an uplink without an address",
			func() error { return addUplink(l, "203.0.113.0/24") },
			func() error { return l.Host.Do(func() error { return deleteLink("eth1") }) },
			"uplinks", api.FindingProblem, "eth1 has no global IPv4 address"},
		{"a published port without its address",
			func() error { return changeAddress(l, "eth0", f.second+f.prefix, netlink.AddrDel) },
			func() error { return changeAddress(l, "eth0", f.second+f.prefix, netlink.AddrAdd) },
			"published-ports", api.FindingProblem, "the address " + f.second + " no more"},
		{"ip_local_port_range",
			func() error { return hostWrite(l, "ipv4/ip_local_port_range", "2048 60999") },
			func() error { return hostWrite(l, "ipv4/ip_local_port_range", "32768 60999") },
			"masquerade-ports", api.FindingProblem, "restart the daemon"},
		{"a default route",
			func() error { return changeDefaultRoute(l, netlink.RouteDel) },
			func() error { return changeDefaultRoute(l, netlink.RouteAdd) },
			"uplinks", api.FindingNote, "no default route"},
	} {
		if err := broken.do(); err != nil {
			t.Fatalf("%s: %v", broken.name, err)
		}
		l.Host.Eventually(broken.name+" is found", func() error { // uplinks come by netlink
			err := lookFor(l, broken.check, broken.status, broken.words)
			if err != nil && broken.check == "devices" { // a repair that was under way has taken it back
				return errors.Join(err, broken.do())
			}
			return err
		})
		if err := broken.undo(); err != nil {
			t.Fatalf("%s, taken back: %v", broken.name, err)
		}
		l.Host.Eventually("nothing is left of "+broken.name, func() error { return lookForProblems(l) })
	}
}

func hostWrite(l *lab.Lab, name, value string) error {
	return l.Host.Do(func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) })
}

func changeAddress(l *lab.Lab, device, prefix string, change func(netlink.Link, *netlink.Addr) error) error {
	return l.Host.Do(func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(prefix)
		if err != nil {
			return err
		}
		return change(link, addr)
	})
}

func changeNeighbour(l *lab.Lab, bridge, addr string, change func(*netlink.Neigh) error) error {
	return l.Host.Do(func() error {
		device, err := netlink.LinkByName(bridge)
		if err != nil {
			return err
		}
		ip := net.ParseIP(addr).To4()
		return change(&netlink.Neigh{
			LinkIndex: device.Attrs().Index, IP: ip, State: netlink.NUD_PERMANENT,
			HardwareAddr: net.HardwareAddr{0x02, 0x42, ip[0], ip[1], ip[2], ip[3]},
		})
	})
}

// changeRule adds or removes a rule by which a device's packets, or those that
// pretend to be, find the routes of table 7.
func changeRule(l *lab.Lab, iif string, change func(*netlink.Rule) error) error {
	return l.Host.Do(func() error {
		rule := netlink.NewRule()
		rule.Priority, rule.IifName, rule.Table, rule.Family = 100, iif, 7, netlink.FAMILY_V4
		return change(rule)
	})
}

// addUplink adds a device without an address, eth1, and a route through it.
func addUplink(l *lab.Lab, dst string) error {
	return l.Host.Do(func() error {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1"}, PeerName: "eth1p"}); err != nil {
			return err
		}
		device, err := netlink.LinkByName("eth1")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(device); err != nil {
			return err
		}
		to, err := netlink.ParseIPNet(dst)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: device.Attrs().Index, Dst: to, Scope: netlink.SCOPE_LINK})
	})
}

func deleteLink(name string) error {
	device, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkDel(device)
}

func changeDefaultRoute(l *lab.Lab, change func(*netlink.Route) error) error {
	return l.Host.Do(func() error {
		_, everything, err := net.ParseCIDR("0.0.0.0/0")
		if err != nil {
			return err
		}
		return change(&netlink.Route{Dst: everything, Gw: net.ParseIP(lab.ClientAddr)})
	})
}
