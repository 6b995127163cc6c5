package shim_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/shim"
)

// rootDirectory makes a directory with busybox in it.
func rootDirectory(t *testing.T) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("busybox-static is needed: make test installs it")
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	// Nothing executes a file that a child of this process has open to write.
	if out, err := exec.Command("cp", busybox, filepath.Join(root, "bin", "busybox")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return root
}

// inRoot is a command of busybox in a root directory, with files of its own.
func inRoot(t *testing.T, root, script string) shim.Config {
	t.Helper()
	config := shim.Config{Args: []string{"/bin/busybox", "sh", "-c", script}, Rootfs: root}
	for name, path := range map[string]*string{"hosts": &config.Hosts, "resolv.conf": &config.ResolvConf, "hostname": &config.EtcHost} {
		*path = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(*path, []byte("own "+name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return config
}

// runInRoot is run; a command that cannot be started says why in stderr.
func runInRoot(t *testing.T, config shim.Config) (stdout, stderr string, code int) {
	t.Helper()
	conn, _ := launch(t, config)
	var out, errOut bytes.Buffer
	code, err := conn.Attach(nil, &out, &errOut)
	var start *shim.StartError
	switch {
	case errors.As(err, &start):
		return "", start.Message, start.Code
	case err != nil:
		t.Fatal(err)
	}
	return out.String(), errOut.String(), code
}

func TestRootDirectory(t *testing.T) {
	t.Parallel()
	out, errOut, code := run(t, shim.Config{
		Args:   []string{"/bin/busybox", "sh", "-c", "busybox ls /; echo x >/dev/null && busybox mount | busybox wc -l"},
		Rootfs: rootDirectory(t),
	})
	if code != 0 || !strings.HasPrefix(out, "bin\ndev\nproc\nsys\n") {
		t.Errorf("in the root directory: %q %q, exit code %d", out, errOut, code)
	}
}

// TestRootDirectoryReadOnly covers a root directory that nobody can write to,
// and that has all that is mounted on.
func TestRootDirectoryReadOnly(t *testing.T) {
	t.Parallel()
	root := rootDirectory(t)
	script := "busybox cat /etc/hosts /etc/resolv.conf /etc/hostname"
	const want = "own hosts\nown resolv.conf\nown hostname\n"
	for _, mount := range []string{"it is writable", "it is read-only"} {
		if out, errOut, code := runInRoot(t, inRoot(t, root, script)); code != 0 || out != want {
			t.Errorf("while %s: %q %q, exit code %d", mount, out, errOut, code)
		}
		if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		if err := unix.Mount("", root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRootDirectoryWithLinks covers symbolic links in a root directory: they lead
// where they do inside, to whatever they lead outside.
func TestRootDirectoryWithLinks(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	kept := filepath.Join(outside, "resolv.conf")
	if err := os.Symlink("elsewhere", kept); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 20)
	for _, test := range []struct {
		path, target string
		inside       string // a directory that is there, for the target to lead to
	}{
		{"etc", "conf", "conf"},
		{"etc", "/conf", "conf"},
		{"etc", up + "conf", "conf"},
		{"etc", outside, outside},
		{"etc", up + outside, outside},
		{"dev", outside, outside},
		{"dev", up + outside, outside},
		{"proc", up + outside, outside},
		{"sys", outside, outside},
		{"etc/hosts", outside + "/hosts", outside},
		{"etc/resolv.conf", up + kept, outside},
	} {
		root := rootDirectory(t)
		link := filepath.Join(root, test.path)
		for _, dir := range []string{filepath.Dir(link), filepath.Join(root, test.inside)} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(test.target, link); err != nil {
			t.Fatal(err)
		}
		script := "busybox cat /etc/hosts /etc/resolv.conf; echo x >/dev/null; busybox test -c /dev/null && busybox test -d /proc/self && busybox test -d /sys/class"
		out, errOut, code := runInRoot(t, inRoot(t, root, script))
		if code != 0 || out != "own hosts\nown resolv.conf\n" || errOut != "" {
			t.Errorf("%s -> %s: %q %q, exit code %d", test.path, test.target, out, errOut, code)
		}
		entries, err := os.ReadDir(outside)
		if err != nil || len(entries) != 1 || entries[0].Type() != os.ModeSymlink {
			t.Fatalf("%s -> %s: changes what is outside: %v %v", test.path, test.target, entries, err)
		}
	}
}

// TestRootDirectoryWithDanglingLinks covers links to what is not there inside.
func TestRootDirectoryWithDanglingLinks(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	for _, path := range []string{"etc", "dev", "proc", "sys"} {
		root := rootDirectory(t)
		if err := os.Symlink(outside, filepath.Join(root, path)); err != nil {
			t.Fatal(err)
		}
		if out, errOut, code := runInRoot(t, inRoot(t, root, "echo yes")); code != 125 || out != "" || !strings.Contains(errOut, "/"+path) {
			t.Errorf("%s: %q %q, exit code %d", path, out, errOut, code)
		}
		if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
			t.Fatalf("%s: changes what is outside: %v %v", path, entries, err)
		}
	}
}
