package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-net/sluice/internal/lab"
)

var hexID = regexp.MustCompile(`^[0-9a-f]{64}$`)

func TestRow01DefaultBridge(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	if got := l.Host.Output("ip", "-br", "-4", "addr", "show", "dev", "sluice0"); !strings.Contains(got, "172.17.0.1/16") {
		t.Errorf("sluice0: %s", got)
	}
	for i, name := range []string{"one", "two", "three"} {
		l.OK("run", "-d", "--name", name)
		want := fmt.Sprintf("172.17.0.%d", i+2)
		if got := addressOf(l, name, "bridge"); got != want {
			t.Errorf("%s has %s, want %s", name, got, want)
		}
		if got := l.OK("exec", name, "ip", "-br", "-4", "addr", "show", "dev", "eth0"); !strings.Contains(got, want+"/16") {
			t.Errorf("eth0 in %s: %s", name, got)
		}
	}
	if got := l.Host.Output("ip", "-br", "link", "show", "master", "sluice0"); strings.Count(got, "veth") != 3 {
		t.Errorf("ports of sluice0:\n%s", got)
	}
	l.OK("rm", "-f", "two")
	l.OK("run", "-d", "--name", "four")
	if got := addressOf(l, "four", "bridge"); got != "172.17.0.3" {
		t.Errorf("the freed address was not handed out again: four has %s", got)
	}
}

func TestRow02PublishedPort(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	id := runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	if !hexID.MatchString(id) {
		t.Errorf("run -d printed %q", id)
	}
	runServer(l, "udp00", "udp-echo", ":53", "-p", "5353:53/udp")

	t.Run("from outside with the client's own address", func(t *testing.T) {
		if got := hostPart(t, greeting(l.Client, lab.HostAddr+":8080")); got != lab.ClientAddr {
			t.Errorf("the server saw %s", got)
		}
		if got := datagram(l.Client, lab.HostAddr+":5353", "hello"); !strings.HasPrefix(got, lab.ClientAddr+":") || !strings.HasSuffix(got, " hello") {
			t.Errorf("the UDP server answered %q", got)
		}
	})
	t.Run("from the host itself", func(t *testing.T) {
		for _, host := range []string{"127.0.0.1", "127.0.0.5", lab.HostAddr, "172.17.0.1", "[::1]", "[::ffff:127.0.0.1]"} {
			if got := hostPart(t, greeting(l.Host, host+":8080")); got != "172.17.0.1" && got != lab.HostAddr {
				t.Errorf("by %s the server saw %s", host, got)
			}
		}
		for _, host := range []string{"127.0.0.1", lab.HostAddr, "[::1]"} {
			if got := datagram(l.Host, host+":5353", "hi"); !strings.HasSuffix(got, " hi") {
				t.Errorf("by %s: %q", host, got)
			}
		}
	})
	t.Run("from another container through the host", func(t *testing.T) {
		l.OK("run", "-d", "--name", "other")
		got := l.OK("exec", "other", "busybox", "nc", "-w", "5", lab.HostAddr, "8080")
		if hostPart(t, strings.TrimSpace(got)) != addressOf(l, "other", "bridge") {
			t.Errorf("the server saw %s", got)
		}
	})
	t.Run("from the container itself", func(t *testing.T) {
		got := l.OK("exec", "net00", "busybox", "nc", "-w", "5", lab.HostAddr, "8080")
		if hostPart(t, strings.TrimSpace(got)) != "172.17.0.1" {
			t.Errorf("the server saw %s", got)
		}
	})
}

func TestRow03NATTableVisible(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	greeting(l.Client, lab.HostAddr+":8080") // from here on none is refused
	before := natRule(l, "publish", "net00")
	for range 3 {
		greeting(l.Client, lab.HostAddr+":8080")
	}
	after := natRule(l, "publish", "net00")
	if after.Packets != before.Packets+3 {
		t.Errorf("3 connections moved the rule from %d to %d flows", before.Packets, after.Packets)
	}
	if after.Bytes <= before.Bytes || after.TotalPackets <= before.TotalPackets+6 {
		t.Errorf("counters: before %+v, after %+v", before, after)
	}
	if after.To != "172.17.0.2:80" || after.Ports != "8080" || after.Protocol != "tcp" {
		t.Errorf("the rule reads %+v", after)
	}
	table := l.OK("nat")
	for _, want := range []string{"PKTS", "masquerade", "172.17.0.0/16", "8080", "172.17.0.2:80"} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
	}
}

func TestRow04Masquerade(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.Client.Background(selfPath, "tcp-echo", lab.FarAddr+":7")
	l.Client.Background(selfPath, "udp-echo", lab.FarAddr+":7")
	greeting(l.Host, lab.FarAddr+":7")
	l.OK("run", "-d", "--name", "net00")
	before := natRule(l, "masquerade", "bridge")
	if got := l.OK("exec", "net00", "busybox", "nc", "-w", "5", lab.FarAddr, "7"); hostPart(t, strings.TrimSpace(got)) != lab.HostAddr {
		t.Errorf("the TCP server outside saw %s", got)
	}
	if got := l.OK("exec", "net00", "busybox", "ping", "-c", "3", "-i", "0.1", "-W", "5", lab.FarAddr); !strings.Contains(got, "3 packets received") {
		t.Errorf("ping: %s", got)
	}
	if got := l.OK("exec", "net00", selfPath, "udp-ask", lab.FarAddr+":7", "question"); hostPart(t, strings.TrimSuffix(got, " question")) != lab.HostAddr {
		t.Errorf("the UDP server outside answered %q", got)
	}
	if after := natRule(l, "masquerade", "bridge"); after.Packets != before.Packets+3 {
		t.Errorf("TCP, ping and UDP moved the masquerade rule from %d to %d flows", before.Packets, after.Packets)
	}
}

func TestRow05Inspect(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	id := runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
	var raw []map[string]any
	if err := json.Unmarshal([]byte(l.OK("inspect", "net00")), &raw); err != nil {
		t.Fatal(err)
	}
	settings := raw[0]["NetworkSettings"].(map[string]any)
	ports, _ := json.Marshal(settings["Ports"])
	if string(ports) != `{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]}` {
		t.Errorf("Ports: %s", ports)
	}
	bridge := settings["Networks"].(map[string]any)["bridge"].(map[string]any)
	for _, key := range []string{
		"IPAMConfig", "Links", "Aliases", "NetworkID", "EndpointID", "Gateway", "IPAddress", "IPPrefixLen",
		"IPv6Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "MacAddress",
	} {
		if _, ok := bridge[key]; !ok {
			t.Errorf("Networks.bridge has no %s", key)
		}
	}
	for _, got := range []any{raw[0]["Id"], bridge["NetworkID"], bridge["EndpointID"]} {
		if !hexID.MatchString(got.(string)) {
			t.Errorf("%v is no ID of 64 hex digits", got)
		}
	}
	if raw[0]["Id"] != id || raw[0]["Name"] != "/net00" {
		t.Errorf("Id %v, Name %v", raw[0]["Id"], raw[0]["Name"])
	}
	if got := l.OK("inspect", "--format", "{{.NetworkSettings.IPAddress}} {{.State.Status}}", "net00"); got != "172.17.0.2 running" {
		t.Errorf("--format printed %q", got)
	}
	key := settings["SandboxKey"].(string)
	if got := l.Host.Output("nsenter", "--net="+key, "ip", "-br", "-4", "addr", "show", "dev", "eth0"); !strings.Contains(got, "172.17.0.2") {
		t.Errorf("the namespace at SandboxKey has %s", got)
	}
}

func TestRow06CustomBridge(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	id := l.OK("network", "create", "--driver=bridge", "--subnet=172.20.0.0/16", "custombridge")
	if !hexID.MatchString(id) {
		t.Errorf("network create printed %q", id)
	}
	if got := l.Host.Output("ip", "-br", "-4", "addr"); !strings.Contains(got, "172.20.0.1/16") {
		t.Errorf("no device has the gateway's address:\n%s", got)
	}
}

func TestRow07List(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	id := l.OK("network", "create", "--driver=bridge", "--subnet=172.20.0.0/16", "custombridge")
	lines := strings.Split(l.OK("network", "ls"), "\n")
	if got := strings.Fields(lines[0]); strings.Join(got, " ") != "NETWORK ID NAME DRIVER SCOPE" {
		t.Errorf("header: %q", lines[0])
	}
	want := map[string]string{"bridge": "bridge", "host": "host", "none": "null", "custombridge": "bridge"}
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if len(fields) != 4 || want[fields[1]] != fields[2] || fields[3] != "local" {
			t.Errorf("line %q", line)
			continue
		}
		if fields[1] == "custombridge" && fields[0] != id[:12] {
			t.Errorf("ID %s, want %s", fields[0], id[:12])
		}
		delete(want, fields[1])
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
}

func TestRow08JoinNetwork(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("network", "create", "--driver=bridge", "--subnet=172.20.0.0/16", "custombridge")
	id := l.OK("run", "-d", "--name=net01", "--network=custombridge")
	got := inspect(l, "net01").NetworkSettings.Networks["custombridge"]
	if got.IPAddress != "172.20.0.2" || got.IPPrefixLen != 16 || got.Gateway != "172.20.0.1" || got.MacAddress != "02:42:ac:14:00:02" {
		t.Errorf("endpoint: %+v", got)
	}
	if len(got.Aliases) != 1 || got.Aliases[0] != id[:12] {
		t.Errorf("aliases: %v, want the short ID %s", got.Aliases, id[:12])
	}
	l.OK("run", "-d", "--name=net02", "--network=custombridge")
	if out := l.OK("exec", "net02", "busybox", "ping", "-c", "1", "-W", "5", "172.20.0.2"); !strings.Contains(out, "1 packets received") {
		t.Errorf("ping in the network: %s", out)
	}
}

func TestRow09HostNetwork(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("run", "-itd", "--name=test00", "--net=host")
	if got := l.OK("exec", "test00", "ip", "-br", "-4", "addr"); !strings.Contains(got, lab.HostAddr) {
		t.Errorf("addresses: %s", got)
	}
}

func TestRow10None(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	l.OK("run", "-itd", "--name=non00", "--net=none")
	lines := strings.Split(l.OK("exec", "non00", "ip", "-br", "link"), "\n")
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "lo ") {
		t.Errorf("links: %v", lines)
	}
}
