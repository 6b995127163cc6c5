package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// ErrKernel is returned when the kernel lacks something that the datapath
// needs; the message names it.
var ErrKernel = errors.New("the kernel lacks what sluice needs")

// MinKernel is the oldest kernel that sluice runs on.
var MinKernel = [2]int{6, 1}

// checkKernel refuses kernels before MinKernel.
func checkKernel() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	return checkRelease(unix.ByteSliceToString(name.Release[:]))
}

func checkRelease(release string) error {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("kernel release %q: %w", release, err)
	}
	if major < MinKernel[0] || major == MinKernel[0] && minor < MinKernel[1] {
		return fmt.Errorf("%w: this is Linux %s, and the oldest that works is %d.%d",
			ErrKernel, release, MinKernel[0], MinKernel[1])
	}
	return nil
}

// requirement is a feature that some kernels are built without.
type requirement struct {
	name  string
	probe func() error
}

func helper(name string, kind ebpf.ProgramType, fn asm.BuiltinFunc) requirement {
	return requirement{"helper " + name, func() error { return features.HaveProgramHelper(kind, fn) }}
}

func requirements() []requirement {
	return []requirement{
		{"program type sched_cls (CONFIG_NET_CLS_BPF)", func() error { return features.HaveProgramType(ebpf.SchedCLS) }},
		{"program type cgroup_sock_addr (CONFIG_CGROUP_BPF)", func() error { return features.HaveProgramType(ebpf.CGroupSockAddr) }},
		{"LRU hash maps", func() error { return features.HaveMapType(ebpf.LRUHash) }},
		{"ring buffers", func() error { return features.HaveMapType(ebpf.RingBuf) }},
		helper("bpf_redirect_peer", ebpf.SchedCLS, asm.FnRedirectPeer),
		helper("bpf_redirect_neigh", ebpf.SchedCLS, asm.FnRedirectNeigh),
		helper("bpf_fib_lookup", ebpf.SchedCLS, asm.FnFibLookup),
		helper("bpf_loop", ebpf.SchedCLS, asm.FnLoop),
		helper("bpf_sk_lookup_udp", ebpf.SchedCLS, asm.FnSkLookupUdp),
		helper("bpf_get_netns_cookie", ebpf.CGroupSockAddr, asm.FnGetNetnsCookie),
	}
}

// missing names the requirements that the kernel certainly lacks.
func missing() []string {
	var names []string
	for _, r := range requirements() {
		if err := r.probe(); errors.Is(err, ebpf.ErrNotSupported) {
			names = append(names, r.name)
		}
	}
	return names
}

// verifierTail is how many lines of the verifier's log an error shows.
const verifierTail = 5

// explainLoad says why a program did not load: what the kernel lacks, or what
// the verifier said last, with its whole log kept in a file.
func explainLoad(hook string, err error, logDir string) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("load the %s programs: %w: CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN are needed (run as root)", hook, err)
	}
	if lacks := missing(); len(lacks) > 0 {
		return fmt.Errorf("%w: %s (load the %s programs: %v)", ErrKernel, strings.Join(lacks, ", "), hook, err)
	}
	var verifier *ebpf.VerifierError
	if !errors.As(err, &verifier) || logDir == "" {
		return fmt.Errorf("load the %s programs: %w", hook, err)
	}
	path := filepath.Join(logDir, "verifier-"+hook+".log")
	if writeErr := os.WriteFile(path, []byte(strings.Join(verifier.Log, "\n")+"\n"), 0o600); writeErr != nil {
		path = "not kept: " + writeErr.Error()
	}
	tail := verifier.Log[max(0, len(verifier.Log)-verifierTail):]
	return fmt.Errorf("load the %s programs: the verifier refused them (whole log: %s):\n  %s",
		hook, path, strings.Join(tail, "\n  "))
}
