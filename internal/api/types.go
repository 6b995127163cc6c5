// Package api is the HTTP/JSON interface between the daemon and its clients:
// the bodies, which follow Docker's shapes, and a client that speaks over the
// daemon's unix socket. The server is package apiserver.
package api

import "time"

// Version is the first path element of every route.
const Version = "v1"

// PortBinding is a host address and port in Docker's spelling: both strings,
// HostIP "0.0.0.0" for every IPv4 address, "::" for every IPv6 one and "", where it
// is asked for, for both; HostPort "" to let the daemon choose.
type PortBinding struct {
	HostIP   string `json:"HostIp"`
	HostPort string
}

// PortMap maps a container port ("80/tcp") to where the host publishes it.
type PortMap map[string][]PortBinding

// CreateContainer is the body of POST /v1/containers/create.
type CreateContainer struct {
	Name       string `json:",omitempty"`
	Hostname   string `json:",omitempty"`
	Cmd        []string
	Env        []string
	WorkingDir string `json:",omitempty"`
	OpenStdin  bool
	Tty        bool
	HostConfig HostConfig
	// IPAddress and IPv6Address are requested; "" for the lowest free ones.
	IPAddress   string   `json:",omitempty"`
	IPv6Address string   `json:",omitempty"`
	Aliases     []string `json:",omitempty"` // in the network, shared with other containers
}

// HostConfig is the part of a container's configuration that concerns the host.
type HostConfig struct {
	NetworkMode string   // network's name or ID, or "container:" and a container's; "" for "bridge"
	Publish     []string // port specifications in the grammar of package portspec
	AutoRemove  bool
	Privileged  bool
	CapAdd      []string
	CapDrop     []string
	Rootfs      string   // directory; "" for the host's files
	ExtraHosts  []string // NAME:IP
	Links       []string // NAME[:ALIAS]
	DNS         []string `json:"Dns"`
}

// CreateContainerResponse answers POST /v1/containers/create.
type CreateContainerResponse struct {
	ID       string `json:"Id"`
	Warnings []string
}

// MaxStopSeconds is the longest that a stop may wait. Durations end at 292 years,
// and begin anew with negative ones.
const MaxStopSeconds = 1_000_000_000

// StartContainer is the body of POST /v1/containers/{id}/start.
type StartContainer struct {
	// Hold makes the shim wait with the command until a client attaches to
	// the socket that StartResponse names, so that no output is lost.
	Hold bool
}

// StartResponse answers a start and an exec.
type StartResponse struct {
	// Socket is the path of the shim's attach socket (package shim).
	Socket string
}

// Exec is the body of POST /v1/containers/{id}/exec. The command starts when
// the client attaches to the socket of the answer.
type Exec struct {
	Cmd        []string
	Env        []string
	WorkingDir string
	Privileged bool
	OpenStdin  bool
	Tty        bool
}

// WaitResponse answers POST /v1/containers/{id}/wait.
type WaitResponse struct {
	StatusCode int
}

// ContainerSummary is one element of GET /v1/containers/json.
type ContainerSummary struct {
	ID         string   `json:"Id"`
	Names      []string // each with a leading slash
	Command    string
	Created    int64 // seconds since the epoch
	Ports      []PortSummary
	State      string // "created", "running", "exited"
	Status     string // "Up 2 minutes", "Exited (0) 3 seconds ago"
	HostConfig struct{ NetworkMode string }
	Networks   []string
}

// PortSummary is one published port range of a ContainerSummary.
type PortSummary struct {
	IP             string
	PrivatePort    uint16
	PrivatePortEnd uint16 `json:",omitempty"` // last of a range
	PublicPort     uint16
	PublicPortEnd  uint16 `json:",omitempty"`
	Type           string // "tcp", "udp"
}

// Container answers GET /v1/containers/{id}/json.
type Container struct {
	ID              string `json:"Id"`
	Created         time.Time
	Path            string
	Args            []string
	State           ContainerState
	ResolvConfPath  string
	HostnamePath    string
	HostsPath       string
	LogPath         string
	Name            string // with a leading slash
	Driver          string // "rootfs" or "host": where the files come from
	HostConfig      InspectHostConfig
	Config          ContainerConfig
	NetworkSettings NetworkSettings
}

// ContainerState is a container's process.
type ContainerState struct {
	Status     string // "created", "running", "exited"
	Running    bool
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  time.Time
	FinishedAt time.Time
}

// InspectHostConfig is HostConfig as inspect shows it.
type InspectHostConfig struct {
	NetworkMode  string
	PortBindings PortMap
	AutoRemove   bool
	Privileged   bool
	CapAdd       []string
	CapDrop      []string
	ExtraHosts   []string
	Links        []string // of the default network: /TARGET:/CONTAINER/ALIAS
	DNS          []string `json:"Dns"`
	Rootfs       string
}

// ContainerConfig is what a container was created with.
type ContainerConfig struct {
	Hostname     string
	Domainname   string
	User         string
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Tty          bool
	OpenStdin    bool
	Env          []string
	Cmd          []string
	WorkingDir   string
	Labels       map[string]string
}

// NetworkSettings is the network part of inspect. The top-level address
// fields are those of the default bridge, as Docker has them.
type NetworkSettings struct {
	Bridge              string
	SandboxID           string
	SandboxKey          string // path of the network namespace
	HairpinMode         bool
	Ports               PortMap
	EndpointID          string
	Gateway             string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	MacAddress          string
	Networks            map[string]*EndpointSettings
}

// EndpointSettings is a container's place in one network.
type EndpointSettings struct {
	IPAMConfig          *EndpointIPAMConfig
	Links               []string
	Aliases             []string
	NetworkID           string
	EndpointID          string
	Gateway             string
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	MacAddress          string
	DriverOpts          map[string]string
}

// EndpointIPAMConfig is the address that a user asked for.
type EndpointIPAMConfig struct {
	IPv4Address string `json:",omitempty"`
	IPv6Address string `json:",omitempty"`
}

// CreateNetwork is the body of POST /v1/networks/create.
type CreateNetwork struct {
	Name     string
	Driver   string // "bridge"
	Internal bool
	// EnableIPv6 gives the network IPv6 beside IPv4. IPAM.Config has a subnet of each
	// family at most; those that are missing are chosen.
	EnableIPv6 bool
	// AliasMode is "vip", an address per alias whose members take turns, or
	// "dnsrr", the members' addresses in another order each time; "" for "vip".
	AliasMode string `json:",omitempty"`
	IPAM      IPAM
	Options   map[string]string
	Labels    map[string]string
}

// IPAM is a network's address configuration.
type IPAM struct {
	Driver  string
	Options map[string]string
	Config  []IPAMConfig
}

// IPAMConfig is one subnet of a network.
type IPAMConfig struct {
	Subnet  string `json:",omitempty"`
	Gateway string `json:",omitempty"`
}

// CreateNetworkResponse answers POST /v1/networks/create.
type CreateNetworkResponse struct {
	ID      string `json:"Id"`
	Warning string
}

// Network answers GET /v1/networks/{id} and is an element of GET /v1/networks.
type Network struct {
	Name       string
	ID         string `json:"Id"`
	Created    time.Time
	Scope      string // "local"
	Driver     string // "bridge", "host", "null"
	EnableIPv6 bool
	IPAM       IPAM
	Internal   bool
	AliasMode  string `json:",omitempty"` // "vip" or "dnsrr"; bridge networks have one
	Attachable bool
	Ingress    bool
	Containers map[string]NetworkContainer
	Options    map[string]string
	Labels     map[string]string
}

// NetworkContainer is one endpoint of a Network.
type NetworkContainer struct {
	Name        string
	EndpointID  string
	MacAddress  string
	IPv4Address string // with prefix length, as IPv6Address
	IPv6Address string // "" without IPv6
}

// PublishPorts is the body of POST /v1/containers/{id}/publish and of
// POST /v1/containers/{id}/unpublish: port specifications.
type PublishPorts struct {
	Ports []string
}

// PublishPortsResponse answers both: what was published or withdrawn. A
// PublicPort of 0 is still to be chosen, with the next start, and of several
// public ports for one private port one is.
type PublishPortsResponse struct {
	Ports []PortSummary
}

// NATRule is one element of GET /v1/nat: one line of `sluice nat`.
type NATRule struct {
	Kind        string // "masquerade", "publish", "alias"
	Packets     uint64 // flows: their first packets, as iptables' nat table counts
	Bytes       uint64
	Protocol    string // "tcp", "udp", "all"
	Source      string // prefix, "0.0.0.0/0" or "::/0"; of a rule for both families one of each: "172.20.0.0/16,fd00::/64"
	Destination string // likewise
	Ports       string // "8080", "8000-8010" or ""
	To          string // "172.17.0.2:80", "uplink", or an alias's members: "172.20.0.2,172.20.0.3"
	Network     string
	Container   string // name; an alias's name; "" for masquerade
	// Everything that the rule translated, both directions.
	TotalPackets uint64
	TotalBytes   uint64
}

// Info answers GET /v1/info.
type Info struct {
	Name              string // host name
	ServerVersion     string
	KernelVersion     string
	Root              string
	Containers        int
	ContainersRunning int
	ContainersStopped int
	Networks          int
	Layout            int    // version of the pinned maps
	AttachMode        string // "tcx" or "clsact"
	CgroupPath        string
	Uplinks           []string
	MapEntries        map[string]int
	Drops             map[string]uint64 // reason → packets, those above zero
}

// VersionInfo answers GET /v1/version.
type VersionInfo struct {
	Version       string
	APIVersion    string `json:"ApiVersion"`
	GoVersion     string
	Os            string
	Arch          string
	KernelVersion string
}

// ErrorResponse is the body of every answer whose status is 400 or above.
type ErrorResponse struct {
	Message string `json:"message"`
	// ExitCode is what `run` and `exec` must exit with: 125, 126 or 127.
	ExitCode int `json:"exitCode,omitempty"`
}
