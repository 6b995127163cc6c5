package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// tree is where the container's files are before its root is changed. Paths in it
// are looked up as the container will do: a symbolic link in a root directory, which
// anybody may have written, leads to nothing of the host's.
type tree struct {
	dir int  // descriptor
	own bool // a root directory, in which mount points may be made
}

// openTree opens a root directory, or with "" the host's files.
func openTree(root string) (tree, error) {
	t := tree{own: root != ""}
	if root == "" {
		root = "/"
	}
	var err error
	t.dir, err = unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return t, fmt.Errorf("open the root directory %s: %w", root, err)
	}
	return t, nil
}

// lookups is how often a path is looked up that others are changing.
const lookups = 100

// open returns a descriptor of what is mounted at a path, without access to it.
func (t tree) open(path string) (fd int, err error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	for range lookups {
		fd, err = unix.Openat2(t.dir, path, &how)
		if err != unix.EAGAIN && err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}

// link is the path of a descriptor. What is mounted there later hides it.
func link(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// atTop calls fn with the path of what is mounted at a path now.
func (t tree) atTop(path string, fn func(target string) error) error {
	fd, err := t.open(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return fn(link(fd))
}

// openOrMake opens what is at a path, and makes it in a root directory that has nothing
// there.
func (t tree) openOrMake(path string, makeIt func(parent int, name string) error) (fd int, err error) {
	fd, err = t.open(path)
	if !t.own || !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	parent, err := t.makeDir(filepath.Dir(path))
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	if err := makeIt(parent, filepath.Base(path)); err != nil {
		return -1, fmt.Errorf("make %s in the root directory: %w", path, err)
	}
	return t.open(path)
}

// makeDir opens a directory, and makes it in a root directory that has none.
func (t tree) makeDir(path string) (fd int, err error) {
	return t.openOrMake(path, func(parent int, name string) error {
		err := unix.Mkdirat(parent, name, 0o755)
		if err == unix.EEXIST {
			return errors.New("it is a symbolic link that leads nowhere there")
		}
		return err
	})
}

// makeFile opens a file, and makes an empty one in a root directory that has none.
// A symbolic link that leads nowhere is replaced.
func (t tree) makeFile(path string) (fd int, err error) {
	return t.openOrMake(path, func(parent int, name string) error {
		if err := unix.Unlinkat(parent, name, 0); err != nil && err != unix.ENOENT {
			return err
		}
		made, err := unix.Openat(parent, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		return unix.Close(made)
	})
}

// changeRoot makes the directory the root and forgets the old one.
func (t tree) changeRoot() error {
	if err := unix.Fchdir(t.dir); err != nil {
		return fmt.Errorf("enter the root directory: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return unix.Chdir("/")
}
