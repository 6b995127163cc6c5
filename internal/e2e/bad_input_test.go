package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/lab"
)

// badInput is a command line that must fail in a certain way.
type badInput struct {
	args string // what is typed after `sluice`, split at blanks
	code int
	says string // part of the one line on standard error
}

// expectBad asserts the exit code and the one line of each, and that nothing
// changed.
func expectBad(l *lab.Lab, inputs []badInput) {
	l.Helper()
	before := footprint(l)
	for _, b := range inputs {
		b.expect(l)
		l.Host.Eventually("sluice "+b.args+" leaves everything as it was", func() error { // a shim that failed is still ending, devices are being deleted
			if after := footprint(l); fmt.Sprint(after) != fmt.Sprint(before) {
				return fmt.Errorf("\nbefore %v\nafter  %v", before, after)
			}
			return nil
		})
	}
}

func (b badInput) expect(l *lab.Lab) {
	l.Helper()
	r := l.Sluice(strings.Fields(b.args)...)
	if r.Code != b.code {
		l.Errorf("sluice %s: exit code %d, want %d", b.args, r.Code, b.code)
	}
	if strings.Count(r.Stderr, "\n") != 1 || !strings.HasPrefix(r.Stderr, "sluice: ") || !strings.Contains(r.Stderr, b.says) {
		l.Errorf("sluice %s: said %q, want one line with %q", b.args, r.Stderr, b.says)
	}
	if r.Stdout != "" {
		l.Errorf("sluice %s: printed %q", b.args, r.Stdout)
	}
}

func TestBadNetworks(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.Host.Route("10.9.0.0/16", lab.ClientAddr)
	l.OK("network", "create", "--subnet=172.20.0.0/16", "taken")
	l.OK("run", "-d", "--name=net00", "--network=taken")
	l.OK("network", "create", "--ipv6", "--subnet=fd00:20::/64", "dual")
	l.OK("run", "-d", "--name=net06", "--network=dual")
	expectBad(l, []badInput{
		{"network create --subnet=10.1.0.0/24 --subnet=10.2.0.0/24 n", 1, "10.2.0.0/24"},
		{"network create --subnet=10.1.0.0/24 --gateway=10.1.0.1 --gateway=10.1.0.2 n", 1, "10.1.0.2"},
		{"network create --subnet=172.20.5.0/24 n", 1, "overlaps"},
		{"network create --subnet=172.16.0.0/12 n", 1, "overlaps"},
		{"network create --subnet=10.9.4.0/24 n", 1, "overlaps"},
		{"network create --subnet=192.0.2.0/24 n", 1, "overlaps"},
		{"network create --subnet=172.21.0.0 n", 1, "172.21.0.0"},
		{"network create --subnet=172.21.0.0/33 n", 1, "172.21.0.0/33"},
		{"network create --subnet=172.21.0.9/16 n", 1, "172.21.0.0/16"},
		{"network create --subnet=172.21.0.0/31 n", 1, "use /30"},
		{"network create --subnet=127.1.0.0/16 n", 1, "127.1.0.0/16"},
		{"network create --subnet=224.1.0.0/16 n", 1, "224.1.0.0/16"},
		{"network create --subnet=0.0.0.0/0 n", 1, "0.0.0.0/0"},
		{"network create --subnet=fd00::/64 n", 1, "fd00::/64 is of IPv6: add --ipv6"},
		{"network create --gateway=fd00::1 n", 1, "fd00::1 is of IPv6: add --ipv6"},
		{"network create --ipv6 --gateway=fd00::1 n", 1, "add --subnet"},
		{"network create --ipv6 --subnet=fd00::/64 --subnet=fd01::/64 n", 1, "fd01::/64"},
		{"network create --ipv6 --subnet=fd00::/64 --gateway=fd00::1 --gateway=fd00::2 n", 1, "fd00::2"},
		{"network create --ipv6 --subnet=fd00::/64 --gateway=fd01::1 n", 1, "outside the subnet"},
		{"network create --ipv6 --subnet=fd00::1/64 n", 1, "use that"},
		{"network create --ipv6 --subnet=fd00::/127 n", 1, "use /126"},
		{"network create --ipv6 --subnet=fe80::/64 n", 1, "neither global unicast nor unique local"},
		{"network create --ipv6 --subnet=2001:db8:2::/64 n", 1, "the host's route to 2001:db8:2::/64"},
		{"network create --ipv6 --subnet=fd00:20::/80 n", 1, "overlaps fd00:20::/64 of network dual"},
		{"network create --subnet=nonsense n", 1, "nonsense"},
		{"network create --subnet=172.21.0.0/16 --gateway=172.22.0.1 n", 1, "172.22.0.1"},
		{"network create --subnet=172.21.0.0/16 --gateway=172.21.0.0 n", 1, "172.21.0.0"},
		{"network create --subnet=172.21.0.0/16 --gateway=172.21.255.255 n", 1, "172.21.255.255"},
		{"network create --subnet=172.21.0.0/16 --gateway=nonsense n", 1, "nonsense"},
		{"network create --gateway=172.21.0.1 n", 1, "subnet"},
		{"network create --driver=overlay n", 1, "overlay"},
		{"network create taken", 1, "already exists"},
		{"network create bridge", 1, "already exists"},
		{"network create default", 1, "default stands for bridge"},
		{"network create host", 1, "already exists"},
		{"network create bad/name", 1, "bad/name"},
		{"network create", 1, "--help"},
		{"network create a b", 1, "--help"},
		{"network create --nonsense n", 1, "--nonsense"},
		{"network rm nobody", 1, "nobody"},
		{"network rm taken", 1, "net00"},
		{"network rm bridge", 1, "bridge"},
		{"network rm none", 1, "none"},
		{"network ls --format {{.Nonsense}}", 1, "Nonsense"},
		{"network ls --format {{", 1, "template"},
		{"network nonsense", 1, "nonsense"},
		{"nonsense", 1, "nonsense"},
		{"--nonsense", 1, "--nonsense"},
	})
}

func TestBadContainers(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("network", "create", "--subnet=172.20.0.0/29", "small")
	l.OK("run", "-d", "--name=net00", "-p", "8080:80", "-p", "9000-9005:9000-9005/udp")
	l.OK("run", "-d", "--name=net01", "--network=small", "--ip=172.20.0.5")
	l.OK("network", "create", "--ipv6", "--subnet=fd00:20::/126", "dual")
	l.OK("run", "-d", "--name=net06", "--network=dual", "-p", "[::]:6000:80")
	l.OK("create", "--name=created", "-p", "5000:80")
	expectBad(l, []badInput{
		{"run -d --name=net00", 125, "already in use"},
		{"run -d --name=created", 125, "already in use"},
		{"run -d --name=bad/name", 125, "bad/name"},
		{"run -d --network=nobody", 125, "nobody"},
		{"run --network=nobody true", 125, "nobody"},
		{"run -d -p 8080:80", 125, "8080"},
		{"run -d -p 127.0.0.1:8080:80", 125, "8080"},
		{"run -d -p 8000-8100:8000-8100", 125, "8080"},
		{"run -d -p 9005:1/udp", 125, "9005"},
		{"run -d -p 7000:1 -p 7000:2", 125, "7000"},
		{"run -d -p 70000:80", 125, "70000"},
		{"run -d -p 80:0", 125, "80:0"},
		{"run -d -p 10-1:10-1", 125, "10-1"},
		{"run -d -p 1-3:1-2", 125, "1-3:1-2"},
		{"run -d -p 80:80/sctp", 125, "sctp"},
		{"run -d -p 300.0.0.1:80:80", 125, "300.0.0.1"},
		{"run -d -p 203.0.113.9:80:80", 125, "203.0.113.9"},
		{"run -d -p nonsense", 125, "nonsense"},
		{"run -d --ip=172.17.0.9 --network=small", 125, "172.17.0.9"},
		{"run -d --ip=172.20.0.5 --network=small", 125, "172.20.0.5"},
		{"run -d --ip=172.20.0.1 --network=small", 125, "172.20.0.1"},
		{"run -d --ip=172.20.0.7 --network=small", 125, "172.20.0.7"},
		{"run -d --ip=nonsense --network=small", 125, "nonsense"},
		{"run -d --ip=172.17.0.9 --network=none", 125, "--ip"},
		{"run -d --ip6=fd00:20::9 --network=none", 125, "--ip6"},
		{"run -d --ip6=fd00:20::9", 125, "network bridge has no IPv6"},
		{"run -d --ip6=172.20.0.3 --network=dual", 125, "not an IPv6 address"},
		{"run -d --ip6=fd00:21::2 --network=dual", 125, "outside the subnet fd00:20::/126"},
		{"run -d --ip6=fd00:20::1 --network=dual", 125, "Address already in use"},
		{"run -d --ip6=fd00:20::3 --network=dual --network-alias=rr", 125, "no available IPv6 addresses"},
		{"run -d -p [::]:80:80", 125, "network bridge has no IPv6: make one with `network create --ipv6`"},
		{"run -d --network=dual -p 6000:80", 125, "[::]:6000"},
		{"run -d --network=dual -p [2001:db8:2::1]:6000:80", 125, "[2001:db8:2::1]:6000"},
		{"run -d --network=dual -p [2001:db8:2::99]:6001:80", 125, "the host has no address 2001:db8:2::99"},
		{"run -d --network=dual -p [fe80::1]:6001:80", 125, "link-local"},
		{"run -d --network=dual -p [::1:6001:80", 125, "not an IP address"},
		{"run -d --cap-add=NONSENSE", 125, "NONSENSE"},
		{"run -d --rootfs=/nonsense", 125, "/nonsense"},
		{"run -d --workdir=relative", 125, "relative"},
		{"run -d --hostname=bad/name", 125, "bad/name"},
		{"run -d --dns=nonsense", 125, "nonsense"},
		{"run -d --add-host=nonsense", 125, "nonsense"},
		{"run -d --add-host=bad/name:192.0.2.9", 125, "bad/name"},
		{"run -d --env-file=/nonsense", 125, "/nonsense"},
		{"run -d -e =x", 125, "=x"},
		{"run -d --nonsense", 125, "--nonsense"},
		{"run -d --net=container:", 125, "container:NAME"},
		{"run -d --net=container:nobody", 125, "nobody"},
		{"run -d --net=container:created", 125, "cannot join network of a non running container"},
		{"run -d --net=container:net00 -p 80:80", 125, "port publishing and the container type network mode"},
		{"run -d --net=container:net00 --hostname=box", 125, "hostname and the network mode"},
		{"run -d --net=container:net00 --add-host=db:192.0.2.9", 125, "custom host-to-IP mapping and the network mode"},
		{"run -d --net=container:net00 --dns=192.0.2.53", 125, "dns and the network mode"},
		{"run -d --net=container:net00 --ip=172.17.0.9", 125, "user specified IP address"},
		{"run -d --net=container:net00 --ip6=fd00:20::2", 125, "--ip6 and the network mode"},
		{"run -d --net=container:net00 --net-alias=rr", 125, "network-scoped alias"},
		{"run -d --net=container:net00 --link=net00", 125, "container type network can't be used with links"},
		{"run -d --net=host --link=net00", 125, "host type networking can't be used with links"},
		{"run -d --link=nobody", 125, "could not get container for nobody"},
		{"run -d --link=created:db", 125, "Cannot link to a non running container: /created AS /"},
		{"run -d --link=net01", 125, "does not belong to the network bridge"},
		{"run -d --link=net00:a:b", 125, "net00:a:b"},
		{"run -d --link=:db", 125, ":db"},
		{"create --name=net00", 125, "already in use"},
		{"create --network=nobody", 125, "nobody"},
		{"run nonexistent-command", 127, "nonexistent-command"},
		{"run -d nonexistent-command", 127, "nonexistent-command"},
		{"run --rm nonexistent-command", 127, "nonexistent-command"},
		{"run /nonexistent/command", 127, "/nonexistent/command"},
		{"run /etc/hostname", 126, "/etc/hostname"},
		{"run -d /etc/hostname", 126, "/etc/hostname"},
		{"run /etc", 126, "/etc"},
		{"run --workdir=/nonexistent true", 127, "/nonexistent"},
		{"exec net00 nonexistent-command", 127, "nonexistent-command"},
		{"exec net00 /etc/hostname", 126, "/etc/hostname"},
		{"exec net00", 1, "--help"},
		{"exec nobody true", 1, "nobody"},
		{"exec created true", 1, "not running"},
		{"exec -d net00 nonexistent-command", 127, "nonexistent-command"},
		{"exec --nonsense net00 true", 125, "--help"},
		{"start nobody", 1, "nobody"},
		{"stop nobody", 1, "nobody"},
		{"stop --time=-1 net00", 1, "-1"},
		{"stop --time=10000000000 net00", 1, "10000000000"},
		{"kill nobody", 1, "nobody"},
		{"kill created", 1, "not running"},
		{"kill --signal=NONSENSE net00", 1, "NONSENSE"},
		{"rm nobody", 1, "nobody"},
		{"rm net00", 1, "running"},
		{"rm", 1, "--help"},
		{"wait nobody", 1, "nobody"},
		{"logs nobody", 1, "nobody"},
		{"logs --tail=nonsense net00", 1, "nonsense"},
		{"inspect --format {{.Nonsense}} net00", 1, "Nonsense"},
		{"port nobody", 1, "nobody"},
		{"port net00 81", 1, "81"},
		{"create -p 81:80 -p 81:81", 125, "0.0.0.0:81 failed: port is already allocated"},
		{"publish created 6000:80 6000:81", 125, "0.0.0.0:6000 failed: port is already allocated"},
		{"publish created 5000:80", 125, "0.0.0.0:5000 failed: port is already allocated"},
		{"unpublish created 5000:81", 125, "created does not publish 5000:81"},
		{"publish nobody 81:81", 125, "nobody"},
		{"publish net01 8080:80", 125, "8080"},
		{"publish net00 nonsense", 125, "nonsense"},
		{"publish net00", 1, "--help"},
		{"unpublish net00 8081:80", 125, "8081"},
		{"unpublish net01 80", 125, "80"},
		{"ps --format {{.Nonsense}}", 1, "Nonsense"},
		{"ps --filter status=nonsense", 1, "created, running, exited"},
		{"nat --format {{.Nonsense}}", 1, "Nonsense"},
	})
}

// TestNoReference covers references that no path of the API can carry.
func TestNoReference(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	for _, ref := range []string{"", ".", ".."} {
		for _, args := range []string{
			"start", "stop", "kill", "rm", "rm -f", "wait", "logs", "port", "inspect", "network rm", "network inspect",
		} {
			expectLine(t, args+" "+ref, l.Sluice(append(strings.Fields(args), ref)...), 1, "invalid name or ID")
		}
		expectLine(t, "exec", l.Sluice("exec", ref, "true"), 1, "invalid name or ID")
		for _, verb := range []string{"publish", "unpublish"} {
			expectLine(t, verb, l.Sluice(verb, ref, "80:80"), 125, "invalid name or ID")
		}
	}
}

// TestDiscardedPorts: what a network without ports discards is said, and no error.
func TestDiscardedPorts(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	for _, args := range []string{"create --network=host", "run -d --network=none", "run --rm --network=host"} {
		r := l.Sluice(append(strings.Fields(args), "-p", "80:80", "--", "true")...)
		if r.Code != 0 || r.Stderr != "WARNING: Published ports are discarded when using "+args[strings.Index(args, "=")+1:]+" network mode\n" {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

// TestInspectNobody covers the verbs that print what they found and complain
// of the rest, as Docker does.
func TestInspectNobody(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	for _, args := range [][]string{{"inspect", "nobody"}, {"network", "inspect", "nobody"}} {
		r := l.Sluice(args...)
		if r.Code != 1 || r.Stdout != "[]\n" || !strings.HasPrefix(r.Stderr, "sluice: ") || !strings.Contains(r.Stderr, "nobody") {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// TestTakenHostPort covers ports that listening sockets of the host have.
func TestTakenHostPort(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.Host.Background(selfPath, "tcp-echo", "0.0.0.0:7001")
	l.Host.Background(selfPath, "tcp-echo", "127.0.0.1:7002")
	l.Host.Background(selfPath, "udp-echo", lab.HostAddr+":7003")
	l.Host.Background("busybox", "httpd", "-f", "-p", "[::]:7004")
	greeting(l.Host, "127.0.0.1:7001")
	greeting(l.Host, "127.0.0.1:7002")
	datagram(l.Host, lab.HostAddr+":7003", "up?")
	l.Host.Eventually("httpd listens", func() error {
		if r := l.Host.Run("curl", "-s", "-o", "/dev/null", "http://[::1]:7004/"); r.Code != 0 {
			return fmt.Errorf("curl: %d", r.Code)
		}
		return nil
	})
	expectBad(l, []badInput{
		{"run -d -p 7001:80", 125, "7001"},
		{"run -d -p 127.0.0.1:7001:80", 125, "7001"},
		{"run -d -p 7000-7010:80-90", 125, "700"},
		{"run -d -p 7002:80", 125, "7002"},
		{"run -d -p 7003:80/udp", 125, "7003"},
		{"run -d -p 7004:80", 125, "7004"},
	})
	l.OK("run", "-d", "--name=other-address", "-p", lab.HostAddr+":7002:80")
	l.OK("run", "-d", "--name=other-protocol", "-p", "7003:80/tcp", "-p", "7001:80/udp")
}

// TestPublishedPortIsTaken covers the other way round: who comes later and
// binds, from the host, finds the port in use.
func TestPublishedPortIsTaken(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80", "-p", "8081:80/udp")
	for _, args := range [][]string{{"tcp-echo", ":8080"}, {"tcp-echo", "127.0.0.1:8080"}, {"udp-echo", ":8081"}} {
		if r := l.Host.Run(selfPath, args...); r.Code == 0 || !strings.Contains(r.Stderr, "address already in use") {
			t.Errorf("%v: exit code %d: %s", args, r.Code, r.Stderr)
		}
	}
	l.OK("rm", "-f", "net00")
	l.Host.Background(selfPath, "tcp-echo", ":8080")
	greeting(l.Client, lab.HostAddr+":8080")
}
