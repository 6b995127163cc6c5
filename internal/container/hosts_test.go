package container

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSetHostsLines(t *testing.T) {
	t.Parallel()
	addr := []netip.Addr{netip.MustParseAddr("172.17.0.9")}
	both := append(addr, netip.MustParseAddr("fd00::9"))
	for _, test := range []struct {
		name, before, after string
		addrs               []netip.Addr
	}{
		{"new", "1.1.1.1\ta\n", "1.1.1.1\ta\n172.17.0.9\tdb x db00\n", addr},
		{"first", "", "172.17.0.9\tdb x db00\n", addr},
		{"in its place", "1.1.1.1\tdb x db00\n1.1.1.1\ta\n", "172.17.0.9\tdb x db00\n1.1.1.1\ta\n", addr},
		{"twice", "1.1.1.1\tdb x db00\n2.2.2.2\tdb x db00\n", "172.17.0.9\tdb x db00\n", addr},
		{"gone", "1.1.1.1\tdb x db00\n1.1.1.1\ta\n", "1.1.1.1\ta\n", nil},
		{"no address", "1.1.1.1\ta\n", "1.1.1.1\ta\n", nil},
		{"others' lines stay", "# db x db00\n1.1.1.1 db x db00\n1.1.1.1\tdb x\n", "# db x db00\n1.1.1.1 db x db00\n1.1.1.1\tdb x\n", nil},
		{"both families", "1.1.1.1\tdb x db00\n1.1.1.1\ta\n", "172.17.0.9\tdb x db00\nfd00::9\tdb x db00\n1.1.1.1\ta\n", both},
		{"one family less", "1.1.1.1\tdb x db00\nfd00::1\tdb x db00\n1.1.1.1\ta\n", "172.17.0.9\tdb x db00\n1.1.1.1\ta\n", addr},
		{"no newline at the end", "1.1.1.1\ta", "1.1.1.1\ta\n172.17.0.9\tdb x db00\n", addr},
		{"the last line, unfinished", "1.1.1.1\tdb x db00", "172.17.0.9\tdb x db00\n", addr},
	} {
		if got := string(setHostsLines([]byte(test.before), "db x db00", test.addrs...)); got != test.after {
			t.Errorf("%s: %q, want %q", test.name, got, test.after)
		}
	}
}

// TestEditFile reads a file all the time while it grows and shrinks: a reader
// never misses a line that stays, and the file is the same one.
func TestEditFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hosts")
	const stays = "127.0.0.1\tlocalhost\n"
	long, short := stays+"172.17.0.200\tdb 0123456789ab db00\n", stays
	if err := os.WriteFile(path, []byte(long), 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	done := make(chan error)
	go func() {
		for i := range 2000 {
			next := []string{short, long}[i%2]
			if err := editFile(path, func([]byte) []byte { return []byte(next) }); err != nil {
				done <- err
				return
			}
		}
		close(done)
	}()
	for {
		buffer := make([]byte, 4096)
		n, _ := reader.ReadAt(buffer, 0)
		if got := buffer[:n]; !bytes.HasPrefix(got, []byte(stays)) {
			t.Fatalf("a reader saw %q", got)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(path); string(got) != long {
				t.Errorf("at the end: %q", got)
			}
			return
		default:
		}
	}
}

func TestEditFileThatIsGone(t *testing.T) {
	t.Parallel()
	err := editFile(filepath.Join(t.TempDir(), "hosts"), func(old []byte) []byte { return append(old, '\n') })
	if !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}

func TestDescribeTarget(t *testing.T) {
	t.Parallel()
	web, db := record(), record()
	web.Name, db.Name = "web00", "db00"
	db.Config.Env = []string{"MODE=fast"}
	db.Ports = publishedPorts()
	got := strings.Join(describeTarget(web, Link{Alias: "my-db.x"}, db, netip.MustParseAddr("172.17.0.2")), " ")
	want := "MY_DB_X_PORT=tcp://172.17.0.2:80 MY_DB_X_PORT_80_TCP=tcp://172.17.0.2:80 MY_DB_X_PORT_80_TCP_ADDR=172.17.0.2 " +
		"MY_DB_X_PORT_80_TCP_PORT=80 MY_DB_X_PORT_80_TCP_PROTO=tcp " +
		"MY_DB_X_PORT_81_TCP=tcp://172.17.0.2:81 MY_DB_X_PORT_81_TCP_ADDR=172.17.0.2 MY_DB_X_PORT_81_TCP_PORT=81 MY_DB_X_PORT_81_TCP_PROTO=tcp " +
		"MY_DB_X_NAME=/web00/my-db.x MY_DB_X_ENV_MODE=fast"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := describeTarget(web, Link{Alias: "db"}, db, netip.Addr{}); len(got) != 2 {
		t.Errorf("without an address: %q", got)
	}
}
