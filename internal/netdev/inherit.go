package netdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// inheriting lets the devices that make makes have a setting from their birth on,
// by the host's default, which nobody else is to have. What that was is remembered
// in the file first: who is killed meanwhile leaves the rest to the next giveBack.
func (h *Host) inheriting(s sysctl, make func() error) error {
	before, err := readSysctl("default", s)
	if errors.Is(err, ErrNoIPv6) || err == nil && before == s.value {
		return make()
	}
	if err != nil {
		return err
	}
	if err := os.WriteFile(h.borrowed, []byte(before), 0o600); err != nil {
		return fmt.Errorf("remember the host's setting: %w", err)
	}
	if err := s.write("default"); err != nil {
		return errors.Join(err, h.giveBack(s))
	}
	return errors.Join(make(), h.giveBack(s))
}

// giveBack gives the host's default the value that the file remembers, if there is
// one. A switch for all devices is one for the default too, so that where somebody
// has turned that on, the default is his.
func (h *Host) giveBack(s sysctl) error {
	before, err := os.ReadFile(h.borrowed)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what the host's setting was: %w", err)
	}
	all, err := readSysctl("all", s)
	if err != nil {
		return err
	}
	// Nothing is in it when its writer was killed, and then nothing has been changed.
	if len(before) > 0 && all != s.value {
		if err := (sysctl{s.family, s.name, string(before)}).write("default"); err != nil {
			return err
		}
	}
	return os.Remove(h.borrowed)
}
