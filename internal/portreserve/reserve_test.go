package portreserve

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLists(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "\n": "", "8080\n": "8080", "1-3,2-5,7": "1-5,7", "0,65535": "0,65535", "0-65535": "0-65535", "63,64": "63-64", "9,8": "8-9",
	} {
		p, err := Parse(text)
		if err != nil || p.String() != want {
			t.Errorf("%q: %q, %v, want %q", text, p.String(), err, want)
		}
	}
	for _, text := range []string{"x", "1-", "3-1", "65536", "1,,2", "-1"} {
		if p, err := Parse(text); err == nil {
			t.Errorf("%q: %s", text, p)
		}
	}
	if n := Range(100, 199).Without(Range(150, 160)).Count(); n != 89 {
		t.Errorf("%d ports", n)
	}
}

// inNamespace runs a test in a network namespace of its own, whose thread ends
// with it.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("unshare: %v (this test needs root)", err)
	}
}

func expect(t *testing.T, what, want string) {
	t.Helper()
	got, err := Reserved()
	if err != nil || got.String() != want {
		t.Errorf("%s: reserved %q, %v, want %q", what, got, err, want)
	}
}

func keep(t *testing.T, path, host string, want Ports) {
	t.Helper()
	if err := Keep(path, host, want); err != nil {
		t.Fatal(err)
	}
}

func set(t *testing.T, ports string) {
	t.Helper()
	if err := os.WriteFile(sysctl, []byte(ports+"\n"), 0); err != nil {
		t.Fatal(err)
	}
}

// TestKeep covers what is added to others' ports, changes of mind, and others
// who change theirs meanwhile.
func TestKeep(t *testing.T) {
	inNamespace(t)
	path := filepath.Join(t.TempDir(), "reserved")
	keep(t, path, "h", Ports{})
	expect(t, "nothing wanted", "")
	set(t, "8080,60000-60010")
	keep(t, path, "h", Range(60000, 60999))
	expect(t, "beside others'", "8080,60000-60999")
	keep(t, path, "h", Range(60000, 60999))
	expect(t, "again", "8080,60000-60999")
	keep(t, path, "h", Range(60500, 60999))
	expect(t, "less", "8080,60000-60010,60500-60999")
	set(t, "9090,60000-60010,60500-60999")
	keep(t, path, "h", Range(60900, 60999))
	expect(t, "others have changed theirs", "9090,60000-60010,60900-60999")
	set(t, "9090")
	keep(t, path, "h", Range(60900, 60999))
	expect(t, "somebody took ours away", "9090,60900-60999")
	keep(t, path, "h", Ports{})
	expect(t, "taken back", "9090")
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestCrash covers a process that ended between any two of its steps.
func TestCrash(t *testing.T) {
	inNamespace(t)
	path := filepath.Join(t.TempDir(), "reserved")
	set(t, "8080")
	// Remembered, and not done.
	if err := remember(path, record{"h", "60000-60999"}); err != nil {
		t.Fatal(err)
	}
	keep(t, path, "h", Range(60000, 60999))
	expect(t, "done by the next", "8080,60000-60999")
	// Done, and more remembered than is wanted.
	if err := remember(path, record{"h", "50000-50999,60000-60999"}); err != nil {
		t.Fatal(err)
	}
	keep(t, path, "h", Ports{})
	expect(t, "taken back", "8080")
}

// TestOtherHost covers what is remembered of another namespace, whose ports
// somebody else reserved here.
func TestOtherHost(t *testing.T) {
	inNamespace(t)
	path := filepath.Join(t.TempDir(), "reserved")
	keep(t, path, "before the reboot", Range(60000, 60999))
	keep(t, path, "after it", Ports{})
	expect(t, "not ours any more", "60000-60999")
}

func TestDamagedRecord(t *testing.T) {
	inNamespace(t)
	path := filepath.Join(t.TempDir(), "reserved")
	for _, text := range []string{"", "{", `{"Host":"h","Ports":"x"}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Keep(path, "h", Range(1, 2)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	expect(t, "nothing is done", "")
}
