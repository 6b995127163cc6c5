package container

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/api"
)

func record() Record {
	return Record{ID: strings.Repeat("0123456789abcdef", 4), Name: "net00"}
}

func TestHostsFile(t *testing.T) {
	t.Parallel()
	r := record()
	r.Config.HostConfig.ExtraHosts = []string{"db:192.0.2.9", "six:2001:db8::1"}
	got := string(hostsFile(r, []netip.Addr{netip.MustParseAddr("172.17.0.2"), netip.MustParseAddr("fd00::2")}))
	for _, line := range []string{"127.0.0.1\tlocalhost\n", "192.0.2.9\tdb\n", "2001:db8::1\tsix\n", "172.17.0.2\t0123456789ab\nfd00::2\t0123456789ab\n"} {
		if !strings.Contains(got, line) {
			t.Errorf("%q is not in\n%s", line, got)
		}
	}
	if got := string(hostsFile(record(), nil)); strings.Contains(got, "0123456789ab") {
		t.Errorf("without a network:\n%s", got)
	}
}

func TestResolvConf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		host    string
		servers []string
		ipv6    bool
		want    string
	}{
		{"search example.net\nnameserver 192.0.2.53\n", nil, false, "search example.net\nnameserver 192.0.2.53\n"},
		{"nameserver 127.0.0.53\noptions edns0\n", nil, false, "options edns0\nnameserver 8.8.8.8\n"},
		{"nameserver ::1\nnameserver 192.0.2.53\n", nil, true, "nameserver 192.0.2.53\n"},
		{"nameserver 2001:db8::53\nnameserver 192.0.2.53\n", nil, true, "nameserver 2001:db8::53\nnameserver 192.0.2.53\n"},
		{"nameserver 2001:db8::53\nnameserver 192.0.2.53\n", nil, false, "nameserver 192.0.2.53\n"},
		{"nameserver 192.0.2.53\nsearch example.net\n", []string{"192.0.2.1"}, false, "nameserver 192.0.2.1\nsearch example.net\n"},
		{"", nil, false, "nameserver 8.8.8.8\n"},
	} {
		if got := string(resolvConf([]byte(test.host), test.servers, test.ipv6)); got != test.want {
			t.Errorf("%q, %v, IPv6 %v: %q, want %q", test.host, test.servers, test.ipv6, got, test.want)
		}
	}
}

func TestNamedResolvConf(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"": "nameserver 127.0.0.11\noptions ndots:0\n",
		"# by hand\nnameserver 192.0.2.53\nsearch example.net  example.com\nsortlist 192.0.2.0\n": "nameserver 127.0.0.11\nsearch example.net example.com\noptions ndots:0\n",
		"options edns0 ndots:2\nnameserver 127.0.0.53":                                            "nameserver 127.0.0.11\noptions edns0 ndots:2\n",
		"options edns0\nsearch\n": "nameserver 127.0.0.11\noptions edns0\noptions ndots:0\n",
	} {
		if got := string(namedResolvConf([]byte(host))); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

func TestMergeEnv(t *testing.T) {
	t.Parallel()
	got := mergeEnv([]string{"PATH=/bin", "HOME=/root"}, []string{"A=1", "PATH=/usr/bin", "A=2=3", "HOME"})
	if want := []string{"PATH=/usr/bin", "A=2=3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRandomName(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 3000 { // more than there are pairs of words
		name := randomName(func(name string) bool { return seen[name] })
		if seen[name] || !validName.MatchString(name) {
			t.Fatalf("%q is taken or invalid", name)
		}
		seen[name] = true
	}
}

func TestValidateProcess(t *testing.T) {
	t.Parallel()
	good := api.CreateContainer{Cmd: []string{"true"}, Hostname: "a.b-c", WorkingDir: "/usr",
		HostConfig: api.HostConfig{ExtraHosts: []string{"six:2001:db8::1"}, DNS: []string{"2001:db8::53"}, CapAdd: []string{"all"}, Rootfs: t.TempDir()}}
	if err := validateProcess(good); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*api.CreateContainer){
		"capability":          func(c *api.CreateContainer) { c.HostConfig.CapDrop = []string{"NONSENSE"} },
		"long hostname":       func(c *api.CreateContainer) { c.Hostname = strings.Repeat("h", 64) },
		"relative workdir":    func(c *api.CreateContainer) { c.WorkingDir = "usr" },
		"host without a name": func(c *api.CreateContainer) { c.HostConfig.ExtraHosts = []string{":192.0.2.1"} },
		"server by name":      func(c *api.CreateContainer) { c.HostConfig.DNS = []string{"example.net"} },
		"file as rootfs":      func(c *api.CreateContainer) { c.HostConfig.Rootfs = "/etc/hostname" },
	} {
		bad := good
		spoil(&bad)
		if validateProcess(bad) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
