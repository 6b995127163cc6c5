// Package firewall reads what the host's firewall does with packets that no rule
// of its decides on. It changes nothing, and reads no rule.
package firewall

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Hook is where netfilter meets packets.
type Hook string

// The hooks that filter.
const (
	Input   Hook = "INPUT"
	Forward Hook = "FORWARD"
	Output  Hook = "OUTPUT"
)

// Chain is a chain that filters at a hook and drops what its rules say nothing
// of.
type Chain struct {
	Hook Hook
	Name string // as the firewall's tool would be asked: "ip filter FORWARD"
	// Bridge says that it is of the family that sees frames inside bridges.
	Bridge bool
}

// Dropping returns the chains of the calling thread's network namespace whose
// policy is to drop: nf_tables', iptables-nft's among them, and those of legacy
// iptables.
func Dropping() ([]Chain, error) {
	chains, err := droppingNFT()
	for tool, names := range map[string]string{"iptables-legacy": "ip_tables_names", "ip6tables-legacy": "ip6_tables_names"} {
		legacy, legacyErr := droppingLegacy(tool, "/proc/thread-self/net/"+names)
		chains, err = append(chains, legacy...), errors.Join(err, legacyErr)
	}
	return chains, err
}

var nftHooks = map[nftables.ChainHook]Hook{
	*nftables.ChainHookInput: Input, *nftables.ChainHookForward: Forward, *nftables.ChainHookOutput: Output,
}

var nftFamilies = map[nftables.TableFamily]string{
	nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6", nftables.TableFamilyINet: "inet", nftables.TableFamilyBridge: "bridge",
}

func droppingNFT() (dropping []Chain, err error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nf_tables: %w", err)
	}
	chains, err := conn.ListChains()
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) {
		return nil, nil // a kernel without nf_tables
	}
	if err != nil {
		return nil, fmt.Errorf("list the chains of nf_tables: %w", err)
	}
	for _, c := range chains {
		family, known := nftFamilies[c.Table.Family]
		if !known || c.Hooknum == nil || c.Policy == nil || *c.Policy != nftables.ChainPolicyDrop {
			continue
		}
		if hook, known := nftHooks[*c.Hooknum]; known {
			dropping = append(dropping, Chain{
				Hook: hook, Name: strings.Join([]string{family, c.Table.Name, c.Name}, " "), Bridge: family == "bridge",
			})
		}
	}
	return dropping, nil
}

// toolTimeout bounds how long a firewall's tool may take.
const toolTimeout = 5 * time.Second

// droppingLegacy asks the tool, but only where the kernel has the table already:
// to ask would make it.
func droppingLegacy(tool, names string) (dropping []Chain, err error) {
	loaded, err := os.ReadFile(names)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	hasFilter := false
	for _, name := range strings.Fields(string(loaded)) {
		hasFilter = hasFilter || name == "filter"
	}
	if !hasFilter {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, tool, "-w", "-S").Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", tool, err)
	}
	return parsePolicies(tool, string(out)), nil
}

// parsePolicies reads the lines "-P CHAIN DROP" of `iptables -S`.
func parsePolicies(tool, text string) (dropping []Chain) {
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		var chain, policy string
		if n, _ := fmt.Sscanf(lines.Text(), "-P %s %s", &chain, &policy); n == 2 && policy == "DROP" {
			dropping = append(dropping, Chain{Hook: Hook(chain), Name: tool + " " + chain})
		}
	}
	return dropping
}
