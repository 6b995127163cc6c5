package e2e

import "testing"

// TestInternalNetwork covers --internal: its containers reach each other and the
// host's own services, but nothing outside, no other network and none of its
// published ports, also when they give themselves the route that they lack.
func TestInternalNetwork(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		l := f.lab(t)
		f.network(l, "closed", "--internal")
		runServer(l, "net00", "tcp-echo", ":80", "-p", "8080:80")
		runServer(l, "in0", "tcp-echo", ":80", "--network=closed")
		l.OK("run", "-d", "--name=in1", "--network=closed", "--cap-add=NET_ADMIN")
		l.Client.Background(selfPath, "tcp-echo", port(f.far, "7"))
		l.Host.Background(selfPath, "tcp-echo", port(f.host, "9"))
		greeting(l.Client, port(f.host, "8080"))
		greeting(l.Host, port(f.far, "7"))
		greeting(l.Host, port(f.inOther, "80"))

		before := systemInfo(l).Drops
		l.OK("exec", "in1", "ip", "route", "add", "default", "via", f.other)
		greetingInside(l, "in1", port(f.inOther, "80"))
		greetingInside(l, "in1", port(f.host, "9"))
		for addr, reason := range map[string]string{
			port(f.far, "7"): "internal", port(f.host, "8080"): "internal", port(f.other, "8080"): "internal",
			port(f.first, "80"): "isolation", port(f.gateway, "8080"): "isolation",
		} {
			if r := l.Sluice("exec", "in1", selfPath, "tcp-ask", addr); r.Code == 0 {
				t.Errorf("%s is reached: %s", addr, r.Stdout)
			}
			after := systemInfo(l).Drops
			if after[reason] == before[reason] {
				t.Errorf("nothing to %s was dropped for %s", addr, reason)
			}
			before = after
		}
	})
}
