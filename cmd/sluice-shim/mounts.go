package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/shim"
)

// mountFiles gives the container its files: the host's, or a root directory,
// with file systems of its own namespaces and the files that name its network.
func mountFiles(config shim.Config) error {
	// What the container mounts stays with it, what the host unmounts goes.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if config.Rootfs != "" {
		if err := unix.Mount(config.Rootfs, config.Rootfs, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind the root directory %s: %w", config.Rootfs, err)
		}
	}
	t, err := openTree(config.Rootfs)
	if err != nil {
		return err
	}
	defer unix.Close(t.dir)
	if err := t.mountKernel(config); err != nil {
		return err
	}
	if t.own {
		if err := t.mountDev(); err != nil {
			return err
		}
	}
	if err := t.mountShared(); err != nil {
		return err
	}
	for target, source := range map[string]string{
		"/etc/hosts": config.Hosts, "/etc/resolv.conf": config.ResolvConf, "/etc/hostname": config.EtcHost,
	} {
		if source == "" {
			continue
		}
		if err := t.bindFile(source, target); err != nil {
			return err
		}
	}
	if !config.Privileged {
		if err := t.protect("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"); err != nil {
			return err
		}
	}
	if t.own {
		return t.changeRoot()
	}
	return nil
}

// mount mounts at a path of the tree. On the host's files nothing is ever
// made: what is not there is left out.
func (t tree) mount(kind, path string, flags uintptr, data string) error {
	target, err := t.makeDir(path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(target)
	if err := unix.Mount(kind, link(target), kind, flags, data); err != nil {
		return fmt.Errorf("mount %s at %s: %w", kind, path, err)
	}
	return nil
}

const noSpecial = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// mountKernel mounts what shows the container's own PID and network namespaces.
func (t tree) mountKernel(config shim.Config) error {
	if err := t.mount("proc", "/proc", noSpecial, ""); err != nil {
		return err
	}
	if config.NetNS == "" && !t.own {
		return nil
	}
	flags := uintptr(noSpecial)
	if !config.Privileged {
		flags |= unix.MS_RDONLY
	}
	return t.mount("sysfs", "/sys", flags, "")
}

// mountShared mounts what belongs to the IPC namespace.
func (t tree) mountShared() error {
	if err := t.mount("tmpfs", "/dev/shm", noSpecial, "mode=1777,size=64m"); err != nil {
		return err
	}
	err := t.mount("mqueue", "/dev/mqueue", noSpecial, "")
	if errors.Is(err, unix.ENODEV) {
		return nil // a kernel without message queues
	}
	return err
}

// mountDev makes the devices that programs expect.
func (t tree) mountDev() error {
	if err := t.mount("tmpfs", "/dev", unix.MS_NOSUID|unix.MS_STRICTATIME, "mode=755,size=64k"); err != nil {
		return err
	}
	if err := t.mount("devpts", "/dev/pts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return err
	}
	dev, err := t.open("/dev")
	if err != nil {
		return err
	}
	defer unix.Close(dev)
	old := unix.Umask(0)
	defer unix.Umask(old)
	for name, number := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		if err := unix.Mknodat(dev, name, unix.S_IFCHR|0o666, int(unix.Mkdev(1, number))); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
	}
	if err := unix.Mknodat(dev, "tty", unix.S_IFCHR|0o666, int(unix.Mkdev(5, 0))); err != nil {
		return fmt.Errorf("make /dev/tty: %w", err)
	}
	for name, target := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := unix.Symlinkat(target, dev, name); err != nil {
			return fmt.Errorf("link /dev/%s: %w", name, err)
		}
	}
	return nil
}

// bindFile puts a file of the container's own over one of the tree.
func (t tree) bindFile(source, path string) error {
	target, err := t.makeFile(path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(target)
	if err := unix.Mount(source, link(target), "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", path, err)
	}
	return nil
}

// protect makes paths read-only; those that are not there are left out.
func (t tree) protect(paths ...string) error {
	for _, path := range paths {
		err := t.atTop(path, func(target string) error { return unix.Mount(target, target, "", unix.MS_BIND|unix.MS_REC, "") })
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err == nil {
			err = t.atTop(path, func(target string) error {
				return unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|noSpecial, "")
			})
		}
		if err != nil {
			return fmt.Errorf("make %s read-only: %w", path, err)
		}
	}
	return nil
}
