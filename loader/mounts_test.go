package loader_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/loader"
)

// mountsAt counts what is mounted at a directory.
func mountsAt(t *testing.T, dir string) (n int) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); fields[1] == dir {
			n++
		}
	}
	return n
}

func TestMountTwiceAndUnmountTwice(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		mount func(string) error
		magic int64
		mode  os.FileMode
	}{
		"bpf":     {loader.MountBPF, unix.BPF_FS_MAGIC, 0o700},
		"cgroup2": {loader.MountCgroup, unix.CGROUP2_SUPER_MAGIC, 0o755},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "below", "one")
			t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
			for range 2 {
				must(t, test.mount(dir))
				equal(t, "mounts", mountsAt(t, dir), 1)
			}
			var fs unix.Statfs_t
			must(t, unix.Statfs(dir, &fs))
			equal(t, "file system", int64(fs.Type), test.magic)
			for range 2 { // what is not mounted is no error
				must(t, loader.Unmount(dir))
				equal(t, "mounts", mountsAt(t, dir), 0)
				if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the directory is still there: %v", err)
				}
			}
		})
	}
}

func TestUnmountOfAPlainDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "plain")
	must(t, os.Mkdir(dir, 0o700))
	must(t, loader.Unmount(dir))
}

// What is in a directory that nothing is mounted at is not ours to delete.
func TestUnmountSparesFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "precious")
	must(t, os.WriteFile(file, nil, 0o600))
	if err := loader.Unmount(dir); err == nil {
		t.Error("no word of what is left")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// Pins end with the mount: that is how a reset takes all of them away.
func TestUnmountEndsThePins(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "bpf")
	must(t, loader.MountBPF(dir))
	must(t, os.Mkdir(filepath.Join(dir, "v1"), 0o700))
	must(t, bystander(t).Pin(filepath.Join(dir, "v1", "pin")))
	must(t, loader.Unmount(dir))
	must(t, loader.MountBPF(dir))
	if _, err := os.Stat(filepath.Join(dir, "v1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pins are still there: %v", err)
	}
	must(t, loader.Unmount(dir))
}

func TestMountOnAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if err := loader.MountBPF(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("%v, want an error that names the place", err)
	}
}
