package container

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
)

// setHostsLines gives names lines of their own in a hosts file, one per address:
// in the place of those that they had, else at the end. Other lines stay as they
// are, those that somebody wrote in the container too.
func setHostsLines(content []byte, names string, addrs ...netip.Addr) []byte {
	var lines []byte
	for _, addr := range addrs {
		lines = fmt.Appendf(lines, "%s\t%s\n", addr, names)
	}
	var out []byte
	for old := range bytes.Lines(content) {
		if _, had, ok := bytes.Cut(bytes.TrimRight(old, "\n"), []byte("\t")); ok && string(had) == names {
			out = append(out, lines...)
			lines = nil
			continue
		}
		out = append(out, old...)
	}
	if len(lines) > 0 && len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return append(out, lines...)
}

// editFile changes a small file in place, because containers have it bound. It
// is written over at once, and a shorter one is filled up with empty lines
// before it is cut: who reads meanwhile never finds it empty or with a tail of
// before, and lines ahead of the change are always whole. More cannot be had:
// the kernel lets a read meet a write half way.
func editFile(path string, change func([]byte) []byte) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	content := change(bytes.Clone(old))
	if bytes.Equal(content, old) {
		return nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	filled := append(bytes.Clone(content), bytes.Repeat([]byte("\n"), max(0, len(old)-len(content)))...)
	if _, err := file.WriteAt(filled, 0); err != nil {
		return err
	}
	return file.Truncate(int64(len(content)))
}
