package loader

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/sluice-net/sluice/internal/datapath"
)

// TestConstantsReachThePrograms reads the constants back from the frozen map
// that each loaded program has them in.
func TestConstantsReachThePrograms(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "bpf")
	must(t, MountBPF(root))
	t.Cleanup(func() { must(t, Unmount(root)) })
	config := Config{
		DryRun: true, Observe: true, FIBIfindex: 0x01020304, HostCookie: 0x1112131415161718,
		LocalPorts: [2]uint16{0x2122, 0x3132}, ConntrackMax: 128,
		Without:  Features{FIBSkipNeigh: true, FIBSource: true, CsumIPv6: true},
		Timeouts: datapath.Timeouts{"timeout_udp_new": 77},
	}
	l, err := Open(root, config)
	must(t, err)
	defer l.Close()
	order := binary.NativeEndian
	want := map[string][]byte{
		"dry_run":           {1},
		"observe":           {1},
		"fib_ifindex":       order.AppendUint32(nil, config.FIBIfindex),
		"host_netns_cookie": order.AppendUint64(nil, config.HostCookie),
		"fib_skip_neigh":    {0},
		"fib_source":        {0},
		"csum_ipv6":         {0},
		"local_port_first":  order.AppendUint16(nil, config.LocalPorts[0]),
		"local_port_last":   order.AppendUint16(nil, config.LocalPorts[1]),
		"timeout_udp_new":   order.AppendUint32(nil, 77),
		"flow_sets_mask4":   order.AppendUint32(nil, l.maps["flow_tags4"].MaxEntries()-1),
		"flow_sets_mask6":   order.AppendUint32(nil, l.maps["flow_tags6"].MaxEntries()-1),
		"timeout_icmp":      order.AppendUint32(nil, 60), // not the loader's: it keeps its default
	}
	if want["flow_seed"], err = l.maps["flow_seeds"].LookupBytes(uint32(0)); err != nil || bytes.Equal(want["flow_seed"], make([]byte, 8)) {
		t.Errorf("the seed: %x, %v", want["flow_seed"], err)
	}
	seen := map[string]bool{}
	for _, programs := range l.programs {
		for name, program := range programs.loaded() {
			contents, section := constantsOf(t, program)
			for _, variable := range section.Vars {
				constant := variable.Type.TypeName()
				got := contents[variable.Offset : variable.Offset+variable.Size]
				if want, ok := want[constant]; ok && !bytes.Equal(got, want) {
					t.Errorf("%s of %s: got %x, want %x", constant, name, got, want)
				}
				seen[constant] = true
			}
		}
	}
	for constant := range want {
		if !seen[constant] {
			t.Errorf("no program has %s", constant)
		}
	}
}

// constantsOf returns a loaded program's .rodata and what is where in it.
func constantsOf(t *testing.T, program *ebpf.Program) ([]byte, *btf.Datasec) {
	t.Helper()
	info, err := program.Info()
	must(t, err)
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		must(t, err)
		defer m.Close()
		if info, err := m.Info(); err != nil || info.Name != ".rodata" || !info.Frozen() {
			continue
		}
		contents, err := m.LookupBytes(uint32(0))
		must(t, err)
		handle, err := m.Handle()
		must(t, err)
		defer handle.Close()
		spec, err := handle.Spec(nil)
		must(t, err)
		var section *btf.Datasec
		must(t, spec.TypeByName(".rodata", &section))
		return contents, section
	}
	t.Fatalf("%s has no frozen .rodata", program)
	return nil, nil
}

func TestPlacesAreByVersion(t *testing.T) {
	t.Parallel()
	p, layout := pinsOf("/b"), fmt.Sprintf("/b/v%d", Layout)
	for got, want := range map[string]string{
		p.mapPin("rules"):          layout + "/maps/rules",
		p.link("uplink", "eth0"):   layout + "/links/uplink@eth0",
		p.link("uplink", "eth0.1"): layout + "/links/uplink@eth0%2E1",
		p.qdisc("eth0.1"):          layout + "/qdiscs/eth0%2E1",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
