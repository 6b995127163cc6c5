package portreserve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// sysctl is that of the calling thread's network namespace.
const sysctl = "/proc/sys/net/ipv4/ip_local_reserved_ports"

// Reserved returns the ports that are reserved in the calling thread's network
// namespace, by whomever.
func Reserved() (Ports, error) {
	raw, err := os.ReadFile(sysctl)
	if err != nil {
		return Ports{}, err
	}
	ports, err := Parse(string(raw))
	if err != nil {
		return ports, fmt.Errorf("net.ipv4.ip_local_reserved_ports: %w", err)
	}
	return ports, nil
}

// record is what the file remembers.
type record struct {
	// Host is the network namespace whose sysctl it is about: that of another
	// one, or of an earlier boot, has nothing of ours.
	Host  string
	Ports string // that we added
}

// Keep makes the ports, and no others that it made before, reserved in the
// calling thread's network namespace, which is called host. What it adds is
// remembered in the file before it is done.
func Keep(path, host string, want Ports) error {
	ours, err := remembered(path, host)
	if err != nil {
		return err
	}
	now, err := Reserved()
	if err != nil {
		return err
	}
	others := now.Without(ours)
	added := want.Without(others)
	if err := remember(path, record{host, ours.With(added).String()}); err != nil {
		return err
	}
	if all := others.With(added); all != now {
		if err := os.WriteFile(sysctl, []byte(all.String()+"\n"), 0); err != nil {
			return fmt.Errorf("set net.ipv4.ip_local_reserved_ports: %w", err)
		}
	}
	return remember(path, record{host, added.String()})
}

// remembered returns the ports of ours that may be reserved.
func remembered(path, host string) (Ports, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Ports{}, nil
	}
	if err != nil {
		return Ports{}, err
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return Ports{}, fmt.Errorf("%s: %w", path, err)
	}
	if r.Host != host {
		return Ports{}, nil
	}
	ports, err := Parse(r.Ports)
	if err != nil {
		return ports, fmt.Errorf("%s: %w", path, err)
	}
	return ports, nil
}

// remember replaces the file, or removes it when there is nothing to remember.
func remember(path string, r record) error {
	if r.Ports == "" {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	half := path + ".new"
	if err := os.WriteFile(half, append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(half, path)
}
