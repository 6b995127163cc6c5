package shim

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Config is what a shim is started with.
type Config struct {
	ID   string
	Args []string // none: a process that waits
	Env  []string
	Dir  string // working directory; "" for /

	// A new container.
	Hostname   string
	Rootfs     string // directory; "" for the host's files
	NetNS      string // path; "" for the host's network namespace
	Hosts      string // files that are bound over those of /etc; "" for none
	ResolvConf string
	EtcHost    string // over /etc/hostname

	// A further process of a running container: the PID of its first one, in
	// the host's namespace. 0 for a new container.
	Target int

	Capabilities uint64 // mask of those that the command keeps
	Privileged   bool
	OpenStdin    bool   // standard input stays open until a client closes it
	LogPath      string // Docker's json-file format; "" for no log
}

// Files in a shim's directory.
const (
	configFile = "config.json"
	socketFile = "shim.sock"
	exitFile   = "exit.json"
	errorFile  = "shim.log"
)

// Socket is the path of the socket of the shim in dir.
func Socket(dir string) string { return filepath.Join(dir, socketFile) }

// ReadConfig reads the configuration in a shim's directory.
func ReadConfig(dir string) (Config, error) {
	var config Config
	raw, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil {
		return config, err
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return config, fmt.Errorf("%s: %w", filepath.Join(dir, configFile), err)
	}
	return config, nil
}

func writeConfig(dir string, config Config) error {
	raw, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, configFile), raw, 0o600)
}

// Exit is how a command ended.
type Exit struct {
	Code int
	Time time.Time
	// Error says why the command never started.
	Error string `json:",omitempty"`
}

// ReadExit reads how the command of the shim in dir ended. os.ErrNotExist
// means that it has not, or that the shim was killed.
func ReadExit(dir string) (Exit, error) {
	var exit Exit
	raw, err := os.ReadFile(filepath.Join(dir, exitFile))
	if err != nil {
		return exit, err
	}
	return exit, json.Unmarshal(raw, &exit)
}

// WriteExit notes how the command ended. The file appears whole.
func WriteExit(dir string, exit Exit) error {
	raw, err := json.Marshal(exit)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, exitFile)
	if err := os.WriteFile(path+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
