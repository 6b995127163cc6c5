package engine

import (
	"net"
	"net/netip"
	"slices"
	"time"
)

// Drivers of networks, in Docker's names.
const (
	DriverBridge = "bridge"
	DriverHost   = "host"
	DriverNull   = "null"
)

// Network is the intent for one network. Only bridge networks have the fields
// from Subnet on.
type Network struct {
	ID       string // 64 hex digits
	Name     string
	Driver   string
	Owned    bool // we made its bridge; otherwise another tool did
	Internal bool
	// AliasMode is what the aliases of the network's endpoints resolve to.
	AliasMode AliasMode
	Labels    map[string]string
	Options   map[string]string
	Created   time.Time

	Subnet   netip.Prefix
	Gateway  netip.Addr
	Subnet6  netip.Prefix // of IPv6; zero without it, and so is Gateway6
	Gateway6 netip.Addr
	Bridge   string // the bridge device
	Index    uint16 // its number in the datapath, from 1
	Rule     uint32 // index of its masquerade rule, of both families
}

// Subnets returns the network's subnets, that of IPv4 first.
func (n Network) Subnets() []netip.Prefix {
	return slices.DeleteFunc([]netip.Prefix{n.Subnet, n.Subnet6}, func(p netip.Prefix) bool { return !p.IsValid() })
}

// HasIPv6 reports whether the network's endpoints have IPv6 addresses too.
func (n Network) HasIPv6() bool { return n.Subnet6.IsValid() }

// Endpoint is the intent for one attachment of a sandbox to a network. It has
// no process fields: what runs in the sandbox is its owner's business.
type Endpoint struct {
	ID         string // 64 hex digits
	NetworkID  string
	Owned      bool   // we made its veth and addresses
	Owner      string // what the front calls it: a container's name, for messages and listings
	Sandbox    string // path of the network namespace
	Device     string // inside the sandbox: eth0
	HostDevice string // outside: veth…
	Address    netip.Addr
	Address6   netip.Addr // zero in a network without IPv6
	Requested  netip.Addr // the address asked for; zero when it was chosen
	Requested6 netip.Addr // likewise
	MAC        net.HardwareAddr
	Names      []string // that resolve to the address: a container's name and short ID
	Aliases    []string // the user's own, which endpoints of the network can share
	Index      uint32   // its number in the datapath, from 1
	Ports      []PublishedPort
}

// PublishedPort is one port, or one range of ports, of the host that leads to
// an endpoint.
type PublishedPort struct {
	Protocol uint8 // IPPROTO_TCP or IPPROTO_UDP
	// HostAddr is an address of the host, or unspecified (0.0.0.0 or ::) for all of
	// its family. It is zero in a request for all that the endpoint has a family of,
	// which leads to one published port per family.
	HostAddr netip.Addr
	First    uint16 // host ports First to Last lead to
	Last     uint16
	Target   uint16 // container ports Target to TargetLast, as many as the host's
	// TargetLast may be 0 in a request, for as many as the host's. A request
	// with one Target and several host ports lets the engine choose one of
	// them if it says TargetLast, and one with First 0 lets it choose any.
	TargetLast uint16
	Rule       uint32 // index in the datapath, from 1; 0 in a request
}

// Addresses returns the endpoint's addresses, that of IPv4 first.
func (ep Endpoint) Addresses() []netip.Addr { return valid(ep.Address, ep.Address6) }

// valid leaves zero addresses out.
func valid(addrs ...netip.Addr) []netip.Addr {
	return slices.DeleteFunc(addrs, func(a netip.Addr) bool { return !a.IsValid() })
}
