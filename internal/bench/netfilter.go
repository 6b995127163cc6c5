package bench

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/sluice-net/sluice/internal/netdev"
)

// The network of the arms whose container we make ourselves.
const (
	bridge        = "br0"
	port          = "veth0" // the bridge's
	gatewayAddr   = "172.17.0.1"
	containerAddr = "172.17.0.2"
)

var (
	bridgeMAC    = net.HardwareAddr{2, 0, 0, 0, 1, 1}
	portMAC      = net.HardwareAddr{2, 0, 0, 0, 1, 3}
	containerMAC = net.HardwareAddr{2, 0, 0, 0, 1, 2}
)

// The rules have the shape of dockerd's for one published port: of two lists
// for each packet in `filter`, the first line takes what is established.
var (
	legacyRules = fmt.Sprintf(`*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o br0 -j MASQUERADE
-A DOCKER ! -i br0 -p udp -m udp --dport %d -j DNAT --to-destination %s:%d
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
-A FORWARD -o br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o br0 -j DOCKER
-A FORWARD -i br0 ! -o br0 -j ACCEPT
-A DOCKER -d %s/32 ! -i br0 -o br0 -p udp -m udp --dport %d -j ACCEPT
COMMIT
`, publishedPort, containerAddr, targetPort, containerAddr, targetPort)

	nftRules = fmt.Sprintf(`table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat;
		fib daddr type local iifname != br0 udp dport %d dnat to %s:%d
	}
	chain postrouting {
		type nat hook postrouting priority srcnat;
		ip saddr 172.17.0.0/16 oifname != br0 masquerade
	}
}
table ip filter {
	chain forward {
		type filter hook forward priority filter; policy drop;
		oifname br0 ct state related,established accept
		iifname != br0 oifname br0 ip daddr %s udp dport %d accept
		iifname br0 oifname != br0 accept
	}
}
`, publishedPort, containerAddr, targetPort, containerAddr, targetPort)
)

// newContainer makes a container's namespace and its veth to a bridge of the
// host, as Docker does.
func newContainer(e *Env, w *world, name string) (string, error) {
	container, err := newNamespace(e, name+"-container")
	if err != nil {
		return "", err
	}
	err = netdev.InNamespace(w.host, func() error {
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge, HardwareAddr: bridgeMAC}})
	})
	if err != nil {
		return "", fmt.Errorf("make a bridge: %w", err)
	}
	if err := connect(w.host, port, portMAC, container, device, containerMAC); err != nil {
		return "", err
	}
	err = errors.Join(
		configure(w.host, bridge, gatewayAddr+"/16", containerAddr, containerMAC),
		configure(container, device, containerAddr+"/16", gatewayAddr, bridgeMAC),
		netdev.InNamespace(w.host, func() error {
			master, err := netlink.LinkByName(bridge)
			if err != nil {
				return err
			}
			slave, err := netlink.LinkByName(port)
			if err != nil {
				return err
			}
			return errors.Join(netlink.LinkSetMaster(slave, master), netlink.LinkSetUp(slave))
		}),
		netdev.InNamespace(container, func() error {
			return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gatewayAddr)})
		}))
	return container, err
}

// newNetfilterArm returns the container behind a published port that a
// program, which reads rules from its standard input, has made.
func newNetfilterArm(e *Env, w *world, name, rules string, program ...string) (container string, err error) {
	container, err = newContainer(e, w, name)
	if err != nil {
		return "", err
	}
	err = netdev.InNamespace(w.host, func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
	})
	if err != nil {
		return "", err
	}
	cmd := exec.Command(program[0], program[1:]...)
	cmd.Stdin = strings.NewReader(rules)
	_, err = output(w.host, cmd)
	return container, err
}
