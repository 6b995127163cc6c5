package lab

import (
	"fmt"
	"strconv"
	"strings"
)

// threadSignals are 32 and 33.
const threadSignals = 3 << 31

// IgnoredSignals reads a line "SigIgn:" of /proc/PID/status, and leaves out those that
// the C library keeps for its threads, which posix_spawn has children ignore. Signal
// n is bit n - 1.
func IgnoredSignals(line string) (uint64, error) {
	fields := strings.Fields(line)
	if len(fields) != 2 || fields[0] != "SigIgn:" {
		return 0, fmt.Errorf("%q is no mask of ignored signals", line)
	}
	mask, err := strconv.ParseUint(fields[1], 16, 64)
	return mask &^ threadSignals, err
}
