package doctor

import (
	"strings"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/loader"
)

// Daemon says whether one runs, and of which version.
func Daemon(version string, running bool) []api.Finding {
	f := of("daemon")
	if !running {
		f.problem("start it with `sluice daemon`; what the checks below leave out, it can tell", "it is not running: containers and connections go on, but nothing is repaired and no name resolves")
	}
	return f.orOK("version %s is running", version)
}

// Kernel says whether it can run the programs; lacks is what loader.CheckKernel
// returned.
func Kernel(release string, lacks error) []api.Finding {
	f := of("kernel")
	if lacks != nil {
		f.problem("use Linux 6.1 or newer with CONFIG_NET_CLS_BPF and CONFIG_CGROUP_BPF", "%v", lacks)
	}
	return f.orOK("Linux %s has all that the programs need", release)
}

// Fallbacks says what the programs do without.
func Fallbacks(kernel loader.Features, haveTCX bool, mode loader.AttachMode) []api.Finding {
	f := of("fallbacks")
	switch {
	case !haveTCX:
		f.note("", "programs meet devices by filters of clsact: tcx needs Linux 6.6")
	case mode == loader.AttachClsact:
		f.note("leave --attach out, unless another tool needs it", "programs meet devices by filters of clsact, although the kernel has tcx")
	}
	if !kernel.FIBSource {
		f.note("", "masquerade uses the uplink's first address where a route prefers another: BPF_FIB_LOOKUP_SRC needs Linux 6.7")
	}
	if !kernel.FIBSkipNeigh {
		f.note("", "route lookups look for neighbours that they do not need: BPF_FIB_LOOKUP_SKIP_NEIGH needs Linux 6.3")
	}
	if !kernel.CsumIPv6 {
		f.note("", "checksums of IPv6 packets that a device summed up need a second call: BPF_F_IPV6 needs Linux 6.16")
	}
	return f.orOK("none is in use")
}

// JIT says whether programs become machine code.
func JIT(compiles bool) []api.Finding {
	f := of("jit")
	if !compiles {
		f.problem("sysctl net.core.bpf_jit_enable=1, and start the daemon again", "programs are interpreted, which costs several times as much for each packet")
	}
	return f.orOK("programs are machine code")
}

// Mounts are where the pins and the cgroups are.
type Mounts struct {
	BPF     string // where the bpffs is, or is to be
	Mounted bool
	Private bool // the mount namespace is one that may end before the host
	Running bool // a daemon has the instance
}

// BPFFS says whether pins outlive the daemon.
func BPFFS(m Mounts) []api.Finding {
	f := of("bpffs")
	switch {
	case m.Running && !m.Mounted:
		f.problem("restart the daemon", "no bpffs is mounted at %s any more: what is pinned has gone with it", m.BPF)
	case m.Mounted:
		f.ok("mounted at %s: the datapath goes on without the daemon", m.BPF)
	case m.Private:
		f.problem("start it outside (`nsenter --net=PATH` keeps the mounts, `ip netns exec` does not), or mount a bpffs at "+m.BPF+" first",
			"this mount namespace is private: a daemon that is started here refuses to mount its bpffs, which would end with it")
	default:
		f.ok("the daemon will mount its own at %s", m.BPF)
	}
	return f.all
}

// Cgroup says whether the host's own processes reach published ports.
func Cgroup(path string, whole bool, s loader.SocketAttachment) []api.Finding {
	f := of("cgroup2")
	if len(s.Missing) > 0 {
		f.problem(repaired, "%s are not attached to %s: the host's own processes do not reach published ports by the host's addresses", strings.Join(s.Missing, ", "), path)
	}
	if len(s.Others) > 0 {
		f.note("", "programs of others are attached there too, and may answer for ours: %s", strings.Join(s.Others, ", "))
	}
	if !whole {
		f.note("leave --cgroup out for all of them", "the host's own processes reach published ports by the host's addresses if they are in %s", path)
	}
	return f.orOK("the host's own processes reach published ports by the host's addresses")
}
