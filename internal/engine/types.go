package engine

import (
	"net"
	"net/netip"
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

	Subnet  netip.Prefix
	Gateway netip.Addr
	Bridge  string // the bridge device
	Index   uint16 // its number in the datapath, from 1
	Rule    uint32 // index of its masquerade rule
}

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
	Requested  netip.Addr // the address asked for; zero when it was chosen
	MAC        net.HardwareAddr
	Names      []string // that resolve to the address: a container's name and short ID
	Aliases    []string // the user's own, which endpoints of the network can share
	Index      uint32   // its number in the datapath, from 1
	Ports      []PublishedPort
}

// PublishedPort is one port, or one range of ports, of the host that leads to
// an endpoint.
type PublishedPort struct {
	Protocol uint8      // IPPROTO_TCP or IPPROTO_UDP
	HostAddr netip.Addr // unspecified (0.0.0.0) for every address of the host
	First    uint16     // host ports First to Last lead to
	Last     uint16
	Target   uint16 // container ports Target to TargetLast, as many as the host's
	// TargetLast may be 0 in a request, for as many as the host's. A request
	// with one Target and several host ports lets the engine choose one of
	// them if it says TargetLast, and one with First 0 lets it choose any.
	TargetLast uint16
	Rule       uint32 // index in the datapath, from 1; 0 in a request
}
