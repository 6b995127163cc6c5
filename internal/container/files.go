package container

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/names"
)

// fallbackServer is the name server of a container when the host has none that
// a container can reach; Docker uses the same.
const fallbackServer = "8.8.8.8"

// writeFiles writes hosts, as yet without an address, hostname and resolv.conf.
// They are written in place: a running container has them bound. In a network
// that has names the name server is ours.
func writeFiles(f files, r Record, network engine.Network) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil { // who cleans up by hand takes it along
		return err
	}
	if err := writeHosts(f, r, nil); err != nil {
		return err
	}
	if err := os.WriteFile(f.hostname(), []byte(r.Hostname()+"\n"), 0o644); err != nil {
		return err
	}
	host, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	conf := resolvConf(host, r.Config.HostConfig.DNS, network.HasIPv6())
	if named(network) {
		conf = namedResolvConf(host)
	}
	return os.WriteFile(f.resolvConf(), conf, 0o644)
}

// writeHosts writes hosts in place.
func writeHosts(f files, r Record, addrs []netip.Addr) error {
	return os.WriteFile(f.hosts(), hostsFile(r, addrs), 0o644)
}

// hostsFile is a container's /etc/hosts; there are no addresses without a network.
func hostsFile(r Record, addrs []netip.Addr) []byte {
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
	for _, entry := range r.Config.HostConfig.ExtraHosts {
		name, addr, _ := strings.Cut(entry, ":")
		fmt.Fprintf(&b, "%s\t%s\n", addr, name)
	}
	for _, addr := range addrs {
		fmt.Fprintf(&b, "%s\t%s\n", addr, r.Hostname())
	}
	return b.Bytes()
}

// resolvConf is the host's without name servers on a loopback address, which
// would be the container's own loopback, and without those that a container has
// no IPv6 for; or with the servers asked for.
func resolvConf(host []byte, servers []string, ipv6 bool) []byte {
	var b bytes.Buffer
	for _, server := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", server)
	}
	found := len(servers) > 0
	lines := bufio.NewScanner(bytes.NewReader(host))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 1 && fields[0] == "nameserver" {
			addr, err := netip.ParseAddr(fields[1])
			if len(servers) > 0 || err != nil || addr.IsLoopback() || addr.Is6() && !ipv6 {
				continue
			}
			found = true
		}
		b.WriteString(lines.Text() + "\n")
	}
	if !found {
		fmt.Fprintf(&b, "nameserver %s\n", fallbackServer)
	}
	return b.Bytes()
}

// namedResolvConf is the host's with our name server alone. Names of containers
// have no dots, and are to be tried as they are first.
func namedResolvConf(host []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "nameserver %s\n", names.Server)
	ndots := false
	for line := range bytes.Lines(host) {
		fields := strings.Fields(string(line))
		if len(fields) < 2 || fields[0] != "search" && fields[0] != "domain" && fields[0] != "options" {
			continue
		}
		ndots = ndots || fields[0] == "options" && slices.ContainsFunc(fields, func(o string) bool { return strings.HasPrefix(o, "ndots:") })
		b.WriteString(strings.Join(fields, " ") + "\n")
	}
	if !ndots {
		b.WriteString("options ndots:0\n")
	}
	return b.Bytes()
}
