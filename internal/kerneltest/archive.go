package main

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// archive writes an initramfs: a cpio archive of the "newc" format, which the
// kernel's Documentation/driver-api/early-userspace/buffer-format.rst describes.
type archive struct {
	w     *bufio.Writer
	inode int
	known map[string]bool
	err   error // the first
}

const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeLink = 0o120000
)

func newArchive(w io.Writer) *archive {
	return &archive{w: bufio.NewWriterSize(w, 1<<20), known: map[string]bool{".": true, "/": true}}
}

// dir adds a folder and those above it, unless they are there.
func (a *archive) dir(name string) {
	name = path.Clean(name)
	if a.known[name] {
		return
	}
	a.dir(path.Dir(name))
	a.entry(name, modeDir|0o755, nil)
}

func (a *archive) file(name string, perm fs.FileMode, content []byte) {
	a.dir(path.Dir(name))
	a.entry(name, modeFile|int(perm.Perm()), content)
}

func (a *archive) symlink(name, target string) {
	a.dir(path.Dir(name))
	a.entry(name, modeLink|0o777, []byte(target))
}

// entry writes a header of 13 fields of eight hex digits, the name and the
// content, each padded to four bytes.
func (a *archive) entry(name string, mode int, content []byte) {
	if a.known[path.Clean(name)] {
		return
	}
	a.known[path.Clean(name)] = true
	a.inode++
	name = relative(name)
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
	a.write([]byte(header + name + "\x00"))
	a.pad(len(header) + len(name) + 1)
	a.write(content)
	a.pad(len(content))
}

func relative(name string) string {
	for len(name) > 0 && name[0] == '/' {
		name = name[1:]
	}
	return name
}

func (a *archive) pad(written int) { a.write(make([]byte, -written&3)) }

func (a *archive) write(p []byte) {
	if a.err == nil {
		_, a.err = a.w.Write(p)
	}
}

// close writes the trailer.
func (a *archive) close() error {
	a.inode = -1
	a.entry("TRAILER!!!", 0, nil)
	if a.err != nil {
		return a.err
	}
	return a.w.Flush()
}
