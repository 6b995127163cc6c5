package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/lab"
)

// docker is a dockerd in a lab's host, whose files nobody else sees.
type docker struct {
	*lab.Lab
	client http.Client
}

// isolate runs dockerd with a tmpfs over every directory that it writes to, in a
// mount namespace that ends with it: DIR SOCKET CGROUP.
const isolate = `set -e
mount -t tmpfs tmpfs "$1"
for dir in etc opt run var; do
	mkdir -p "$1/$dir" "$1/work-$dir"
	mount -t overlay -o "lowerdir=/$dir,upperdir=$1/$dir,workdir=$1/work-$dir" overlay "/$dir"
done
exec dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" -H "unix://$2" \
	--storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "$3"
`

// startDocker starts a dockerd and gives it an image of busybox, called "image".
func startDocker(l *lab.Lab) *docker {
	l.Helper()
	if _, err := exec.LookPath("dockerd"); err != nil {
		l.Fatalf("%v: `make test` fetches it", err)
	}
	dir, err := os.MkdirTemp("", "dockerd-") // short, for the sockets below it
	if err != nil {
		l.Fatal(err)
	}
	socket, cgroup := filepath.Join(l.T.TempDir(), "sock"), filepath.Base(dir)
	cmd := exec.Command("unshare", "--mount", "sh", "-c", isolate, "sh", dir, socket, "/"+cgroup)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := l.Host.Start(cmd); err != nil {
		l.Fatal(err)
	}
	d := &docker{Lab: l, client: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}}
	l.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
		if l.Failed() {
			l.Logf("dockerd: %s", log.String())
		}
		removed, _ := filepath.Glob("/sys/fs/cgroup/*/" + cgroup)
		for _, dir := range append(removed, "/sys/fs/cgroup/"+cgroup) {
			_ = os.Remove(dir)
		}
		_ = os.Remove(dir)
	})
	l.Host.Eventually("dockerd answers", func() error { return d.call(http.MethodGet, "/_ping", nil, nil) })
	if err := d.call(http.MethodPost, "/images/create?fromSrc=-&repo=image", busyboxImage(l), nil); err != nil {
		l.Fatal(err)
	}
	return d
}

// busyboxImage is a file system that has /bin/sleep.
func busyboxImage(l *lab.Lab) io.Reader {
	l.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		l.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		l.Fatal(err)
	}
	var image bytes.Buffer
	w := tar.NewWriter(&image)
	err = w.WriteHeader(&tar.Header{Name: "bin/sleep", Mode: 0o755, Size: int64(len(program))})
	if err == nil {
		_, err = w.Write(program)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		l.Fatal(err)
	}
	return &image
}

// call makes a request of the API and decodes what comes back into out, unless
// that is nil.
func (d *docker) call(method, path string, body io.Reader, out any) error {
	req, err := http.NewRequest(method, "http://docker/v1.41"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, bytes.TrimSpace(raw))
	}
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

// run starts a container whose port 80 is published on a port of the host.
func (d *docker) run(name, hostPort string) error {
	body := fmt.Sprintf(`{"Image":"image","Cmd":["/bin/sleep","1000"],"ExposedPorts":{"80/tcp":{}},
		"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":%q}]}}}`, hostPort)
	err := d.call(http.MethodPost, "/containers/create?name="+name, strings.NewReader(body), nil)
	if err == nil {
		err = d.call(http.MethodPost, "/containers/"+name+"/start", nil, nil)
	}
	if err == nil {
		d.Cleanup(func() { _ = d.call(http.MethodDelete, "/containers/"+name+"?force=1", nil, nil) })
	}
	return err
}

// dockerContainer is a running container of Docker's.
type dockerContainer struct {
	State           struct{ Pid int }
	NetworkSettings struct{ IPAddress string }
}

func (d *docker) inspect(name string) (c dockerContainer) {
	d.Helper()
	if err := d.call(http.MethodGet, "/containers/"+name+"/json", nil, &c); err != nil {
		d.Fatal(err)
	}
	return c
}

// in runs one of the test binary's programs in the network of a container.
func (c dockerContainer) in(l *lab.Lab, program string, args ...string) lab.Result {
	l.Helper()
	return l.Host.Run("nsenter", append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", c.State.Pid), selfPath, program}, args...)...)
}

// serve runs a server in it.
func (c dockerContainer) serve(l *lab.Lab, program, addr string) {
	l.Helper()
	l.Host.Background("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", c.State.Pid), selfPath, program, addr)
}

// TestBesideDocker covers a live dockerd in the same host, with its docker0, its
// rules, ip_forward and a container that publishes a port: whoever came first,
// both do all that they do alone.
func TestBesideDocker(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"dockerd", "sluice"} {
		t.Run(first+" first", func(t *testing.T) {
			t.Parallel()
			var d *docker
			l := everyWayLab(t, func(l *lab.Lab) {
				if first == "dockerd" {
					d = startDocker(l)
				}
			})
			if d == nil {
				d = startDocker(l)
			}
			if err := d.run("c1", "8090"); err != nil {
				t.Fatal(err)
			}
			c1 := d.inspect("c1")
			c1.serve(l, "tcp-echo", ":80")
			everyWay(t, l)

			greeting(l.Client, lab.HostAddr+":8090")
			greeting(l.Host, "127.0.0.1:8090")
			greeting(l.Host, c1.NetworkSettings.IPAddress+":80")
			for _, addr := range []string{lab.FarAddr + ":7", lab.HostAddr + ":8080"} {
				l.Host.Eventually("Docker's container reaches "+addr, func() error {
					if r := c1.in(l, "tcp-ask", addr); r.Code != 0 {
						return errors.New(r.Stderr)
					}
					return nil
				})
			}
			greetingInside(l, "m0", c1.NetworkSettings.IPAddress+":80")
			for _, addr := range []string{"172.20.0.2:80", "172.20.0.1:8080"} {
				if r := c1.in(l, "tcp-ask", addr); r.Code == 0 {
					t.Errorf("Docker's container reached %s, which is not published: %s", addr, r.Stdout)
				}
			}
			expectLine(t, "a port that Docker has", l.Sluice("publish", "m0", "8090:80"), 125, "8090")
			if err := d.run("c2", "8080"); err == nil || !strings.Contains(err.Error(), "8080") {
				t.Errorf("Docker published a port of ours: %v", err)
			}
			l.OK("rm", "-f", "m1")
			greeting(l.Client, lab.HostAddr+":8080")
			l.OK("system", "reset", "--force")
			l.WaitDaemon()
			greeting(l.Client, lab.HostAddr+":8090")
		})
	}
}
