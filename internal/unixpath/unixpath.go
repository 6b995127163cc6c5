// Package unixpath makes unix sockets whose path is longer than the 107 bytes
// that struct sockaddr_un has room for.
package unixpath

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// limit is the size of sun_path (include/uapi/linux/un.h) less the final zero.
const limit = 107

// Use calls fn with a path of the same socket that fits: path itself, or one
// through a descriptor of its directory, which ends with the call.
func Use(path string, fn func(path string) error) error {
	if len(path) <= limit {
		return fn(path)
	}
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	defer unix.Close(dir)
	return fn(fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path)))
}
