package loader

import (
	"bufio"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrPrivateMounts is returned by MountBPF when the mount would vanish with
// the process's mount namespace, and all pins with it.
var ErrPrivateMounts = errors.New("this mount namespace is private, and a bpffs mounted here would vanish with it")

// MountBPF mounts the instance's own bpffs at dir, unless one is there.
func MountBPF(dir string) error {
	mounted, err := mountedAs(dir, unix.BPF_FS_MAGIC)
	if err != nil || mounted {
		return err
	}
	private, err := privateMounts()
	if err != nil {
		return err
	}
	if private {
		return fmt.Errorf("%w: run the daemon outside (`nsenter --net=PATH` keeps the mounts, `ip netns exec` does not), or mount a bpffs at %s first", ErrPrivateMounts, dir)
	}
	return mount("bpf", dir, 0o700)
}

// MountCgroup mounts a cgroup2 of the instance's own at dir, unless one is
// there.
func MountCgroup(dir string) error {
	mounted, err := mountedAs(dir, unix.CGROUP2_SUPER_MAGIC)
	if err != nil || mounted {
		return err
	}
	return mount("cgroup2", dir, 0o755)
}

// Unmount undoes either, all pins included; a directory without a mount is no
// error.
func Unmount(dir string) error {
	err := unix.Unmount(dir, unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func mount(kind, dir string, mode os.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	err := unix.Mount(kind, dir, kind, 0, "")
	if errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%w: file system %s", ErrKernel, kind)
	}
	if err != nil {
		return fmt.Errorf("mount a %s at %s: %w", kind, dir, err)
	}
	return nil
}

func mountedAs(dir string, magic int64) (bool, error) {
	var fs unix.Statfs_t
	err := unix.Statfs(dir, &fs)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(fs.Type) == magic, nil
}

// privateMounts compares our mount namespace with those of our ancestors: one
// that differs has other mounts than the shell or the init that we come from.
func privateMounts() (bool, error) {
	own, err := mountNamespace(os.Getpid())
	if err != nil {
		return false, err
	}
	for pid := os.Getppid(); pid > 0; pid = parent(pid) {
		other, err := mountNamespace(pid)
		if err != nil {
			continue // a hardened host hides some: believe the operator
		}
		if other.Ino != own.Ino || other.Dev != own.Dev {
			return true, nil
		}
	}
	return false, nil
}

func mountNamespace(pid int) (st unix.Stat_t, err error) {
	path := fmt.Sprintf("/proc/%d/ns/mnt", pid)
	if err := unix.Stat(path, &st); err != nil {
		return st, fmt.Errorf("look at %s: %w", path, err)
	}
	return st, nil
}

// parent returns a process's parent, 0 when there is none to be seen.
func parent(pid int) (ppid int) {
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer status.Close()
	lines := bufio.NewScanner(status)
	for lines.Scan() {
		if n, _ := fmt.Sscanf(lines.Text(), "PPid: %d", &ppid); n == 1 {
			return ppid
		}
	}
	return 0
}

// CheckCgroup returns an error unless dir is a directory of a cgroup2 file
// system, to which the socket hook can be attached.
func CheckCgroup(dir string) error {
	_, err := cgroupID(dir)
	return err
}

// cgroupID is the inode of a cgroup's directory.
func cgroupID(dir string) (uint64, error) {
	ours, err := mountedAs(dir, unix.CGROUP2_SUPER_MAGIC)
	if err != nil {
		return 0, err
	}
	if !ours {
		return 0, fmt.Errorf("%s is not a directory of a cgroup2 file system", dir)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, fmt.Errorf("stat %s: %w", dir, err)
	}
	return st.Ino, nil
}
