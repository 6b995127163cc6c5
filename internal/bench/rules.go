package bench

import (
	"fmt"
	"net/netip"
	"strings"
)

// The rules have the shape of dockerd's: a line in `nat` and one in `filter`
// for each published port, and of the lists for each packet in `filter` the
// first line takes what is established. In front of the member is a virtual
// address as kube-proxy makes it, and only what leaves by the uplink is
// masqueraded.

// legacyRules are for iptables-legacy-restore.
func legacyRules(f *family, p plan) string {
	var text strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&text, format+"\n", args...) }
	container, member := f.container(0).Addr(), f.container(1).Addr()
	line("*nat")
	line(":DOCKER - [0:0]")
	line("-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER")
	if p.member {
		line("-A PREROUTING -d %s -j DNAT --to-destination %s", f.vip, member)
	}
	for i := range p.bridges() {
		line("-A POSTROUTING -s %s -o %s -j MASQUERADE", f.gateways[i].Masked(), device)
	}
	for _, port := range p.ports {
		line("-A DOCKER ! -i br0 -p %[1]s -m %[1]s --dport %[2]d -j DNAT --to-destination %[3]s",
			port.protocol, port.host, netip.AddrPortFrom(container, port.container))
	}
	line("COMMIT")
	line("*filter")
	line(":FORWARD DROP [0:0]")
	line(":DOCKER - [0:0]")
	for i := range p.bridges() {
		line("-A FORWARD -o %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", bridgeName(i))
		line("-A FORWARD -o %s -j DOCKER", bridgeName(i))
		line("-A FORWARD -i %[1]s ! -o %[1]s -j ACCEPT", bridgeName(i))
	}
	for _, port := range p.ports {
		line("-A DOCKER -d %[1]s ! -i br0 -o br0 -p %[2]s -m %[2]s --dport %[3]d -j ACCEPT", container, port.protocol, port.container)
	}
	line("COMMIT")
	return text.String()
}

// nftRules are for nft. What differs between the lines comes first, which is
// the quickest.
func nftRules(f *family, p plan) string {
	var dnat, accept strings.Builder
	container, member := f.container(0).Addr(), f.container(1).Addr()
	for _, port := range p.ports {
		fmt.Fprintf(&dnat, "\t\t%s dport %d iifname != br0 dnat to %s\n",
			port.protocol, port.host, netip.AddrPortFrom(container, port.container))
		fmt.Fprintf(&accept, "\t\t%s dport %d %s daddr %s iifname != br0 oifname br0 accept\n",
			port.protocol, port.container, nftFamily(f), container)
	}
	var prerouting string
	if p.member {
		prerouting = fmt.Sprintf("\t\t%s daddr %s dnat to %s\n", nftFamily(f), f.vip, member)
	}
	docker := "\tchain docker {\n" + dnat.String() + "\t}\n"
	return nftTables(f, p, docker, "\t\tfib daddr type local jump docker\n"+prerouting, accept.String())
}

// nftTables are the tables around the rules of the published ports; before is
// what the hooks' chains refer to.
func nftTables(f *family, p plan, before, prerouting, accept string) string {
	var masquerade, established, outward strings.Builder
	for i := range p.bridges() {
		fmt.Fprintf(&masquerade, "\t\t%s saddr %s oifname %s masquerade\n", nftFamily(f), f.gateways[i].Masked(), device)
		fmt.Fprintf(&established, "\t\toifname %s ct state related,established accept\n", bridgeName(i))
		fmt.Fprintf(&outward, "\t\tiifname %[1]s oifname != %[1]s accept\n", bridgeName(i))
	}
	return fmt.Sprintf(`table %s nat {
%s	chain prerouting {
		type nat hook prerouting priority dstnat;
%s	}
	chain postrouting {
		type nat hook postrouting priority srcnat;
%s	}
}
table %s filter {
	chain forward {
		type filter hook forward priority filter; policy drop;
%s%s%s	}
}
`, nftFamily(f), before, prerouting, masquerade.String(), nftFamily(f), established.String(), accept, outward.String())
}

func nftFamily(f *family) string {
	if f == &ipv4 {
		return "ip"
	}
	return "ip6"
}

// nftMapRules are nftRules as somebody writes them who thinks of many ports: a
// map of them instead of lines.
func nftMapRules(f *family, p plan) string {
	container := f.container(0).Addr()
	var maps strings.Builder
	fmt.Fprintf(&maps, "\tmap ports {\n\t\ttype inet_proto . inet_service : %s_addr . inet_service\n\t\telements = {\n", f.name)
	for _, port := range p.ports {
		fmt.Fprintf(&maps, "\t\t\t%s . %d : %s . %d,\n", port.protocol, port.host, container, port.container)
	}
	maps.WriteString("\t\t}\n\t}\n")
	dnat := fmt.Sprintf("\t\tfib daddr type local iifname != br0 dnat %s addr . port to meta l4proto . th dport map @ports\n", nftFamily(f))
	return nftTables(f, p, maps.String(), dnat, "\t\tiifname != br0 oifname br0 ct status dnat accept\n")
}
