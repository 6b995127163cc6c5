package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/netdev"
	"github.com/sluice-net/sluice/internal/store"
)

// ErrOtherHost is returned when the instance's devices are in another network
// namespace, which exists: from here they could neither be repaired nor taken
// away, and what works would be made anew where nobody looks for it.
var ErrOtherHost = errors.New("the host of this instance is another network namespace")

// hostNamespace is the network namespace that an instance took for the host.
// The kernel gives a cookie once, and an inode again.
type hostNamespace struct {
	bootID        string
	inode, cookie uint64
}

// keepHost refuses to go on in another network namespace than the one before,
// unless that has ended, and its devices with it.
func (i *instance) keepHost(context.Context) error {
	own, err := currentHost()
	if err != nil {
		return err
	}
	before, err := readHost(i.dirs.Host())
	if err != nil {
		return err
	}
	if before == own {
		return nil
	}
	if before.bootID == own.bootID {
		if path := before.find(); path != "" {
			return fmt.Errorf("%w: use `nsenter --net=%s`", ErrOtherHost, path)
		}
	}
	// What was borrowed from another one nobody wants back.
	if err := os.RemoveAll(i.dirs.Borrowed()); err != nil {
		return err
	}
	return own.write(i.dirs.Host())
}

func currentHost() (h hostNamespace, err error) {
	if h.bootID, err = store.BootID(); err != nil {
		return h, err
	}
	if h.cookie, err = netnsCookie(); err != nil {
		return h, err
	}
	h.inode, err = inode("/proc/thread-self/ns/net")
	return h, err
}

// readHost returns what write wrote, and nothing of a file that is not there or
// was written by half.
func readHost(path string) (h hostNamespace, err error) {
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return h, err
	}
	if _, err := fmt.Sscanf(string(raw), "%s %d %d\n", &h.bootID, &h.inode, &h.cookie); err != nil {
		return hostNamespace{}, nil
	}
	return h, nil
}

func (h hostNamespace) write(path string) error {
	return os.WriteFile(path, []byte(h.String()+"\n"), 0o600)
}

func (h hostNamespace) String() string { return fmt.Sprintf("%s %d %d", h.bootID, h.inode, h.cookie) }

// find returns a path of the namespace, "" when it has ended.
func (h hostNamespace) find() string {
	paths := mountedNamespaces(h.inode)
	ofProcesses, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, path := range append(paths, ofProcesses...) {
		if n, err := inode(path); err != nil || n != h.inode {
			continue // a process that ended meanwhile, mostly
		}
		var cookie uint64
		err := netdev.InNamespace(path, func() (err error) {
			cookie, err = netnsCookie()
			return err
		})
		if err == nil && cookie == h.cookie {
			return path
		}
	}
	return ""
}

// mountedNamespaces returns where the network namespace is mounted.
func mountedNamespaces(inode uint64) (paths []string) {
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer mounts.Close()
	root := fmt.Sprintf("net:[%d]", inode)
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		// ID, parent, device, root, mount point, …
		if fields := strings.Fields(lines.Text()); len(fields) > 4 && fields[3] == root {
			paths = append(paths, fields[4])
		}
	}
	return paths
}

func inode(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("look at %s: %w", path, err)
	}
	return st.Ino, nil
}
