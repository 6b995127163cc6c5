package engine

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	bpfmaps "github.com/sluice-net/sluice/maps"
)

// fakeDatapath keeps what it is told and refuses what no kernel would accept.
type fakeDatapath struct {
	mu        sync.Mutex
	networks  map[uint16]bpfmaps.Network
	endpoints map[uint32]bpfmaps.Endpoint
	rules     map[uint32]bpfmaps.Rule
	aliases   map[uint32]bpfmaps.Alias
	attached  map[string]int // hook and device
	addrs     []bpfmaps.HostAddr
	uplinks   []Uplink
	calls     []string
	refuses   bool // to attach
}

var _ Datapath = (*fakeDatapath)(nil)

func newFakeDatapath() *fakeDatapath {
	return &fakeDatapath{
		networks:  map[uint16]bpfmaps.Network{},
		endpoints: map[uint32]bpfmaps.Endpoint{},
		rules:     map[uint32]bpfmaps.Rule{},
		aliases:   map[uint32]bpfmaps.Alias{},
		attached:  map[string]int{},
	}
}

// dump is everything that the datapath was told and that is in force, but for
// the ifindexes.
func (f *fakeDatapath) dump() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, i := range slices.Sorted(maps.Keys(f.networks)) {
		n := f.networks[i]
		n.Bridge = 0
		fmt.Fprintf(&b, "network %d %v\n", i, n)
	}
	for _, i := range slices.Sorted(maps.Keys(f.endpoints)) {
		ep := f.endpoints[i]
		ep.Ifindex = 0
		fmt.Fprintf(&b, "endpoint %d %v\n", i, ep)
	}
	for _, i := range slices.Sorted(maps.Keys(f.rules)) {
		fmt.Fprintf(&b, "rule %d %v\n", i, f.rules[i])
	}
	for _, i := range slices.Sorted(maps.Keys(f.aliases)) {
		fmt.Fprintf(&b, "alias %d %v\n", i, f.aliases[i])
	}
	for _, device := range slices.Sorted(maps.Keys(f.attached)) {
		fmt.Fprintf(&b, "attached %s\n", device)
	}
	fmt.Fprintf(&b, "addrs %v uplinks %v\n", f.addrs, f.uplinks)
	return b.String()
}

// takeCalls returns the calls since it was last called.
func (f *fakeDatapath) takeCalls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *fakeDatapath) call(format string, args ...any) func() {
	f.mu.Lock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.mu.Unlock
}

func (f *fakeDatapath) SetNetwork(index uint16, n bpfmaps.Network) error {
	defer f.call("SetNetwork %d", index)()
	if index == 0 || n.Bridge == 0 {
		return errors.New("fake: no index")
	}
	f.networks[index] = n
	return nil
}

func (f *fakeDatapath) ClearNetwork(index uint16) error {
	defer f.call("ClearNetwork %d", index)()
	delete(f.networks, index)
	return nil
}

func (f *fakeDatapath) Asked(uint8, uint64, netip.AddrPort) (netip.AddrPort, bool) {
	return netip.AddrPort{}, false
}

func (f *fakeDatapath) SetEndpoint(index uint32, e bpfmaps.Endpoint) error {
	defer f.call("SetEndpoint %d ready=%v translated=%v", index, e.Ready, e.Translated)()
	if index == 0 || e.Ifindex == 0 {
		return errors.New("fake: no index")
	}
	f.endpoints[index] = e
	return nil
}

func (f *fakeDatapath) ClearEndpoint(index uint32) error {
	defer f.call("ClearEndpoint %d", index)()
	delete(f.endpoints, index)
	return nil
}

func (f *fakeDatapath) SetRule(index uint32, r bpfmaps.Rule) error {
	defer f.call("SetRule %d", index)()
	if index == 0 {
		return errors.New("fake: no index")
	}
	f.rules[index] = r
	return nil
}

func (f *fakeDatapath) SetRules(rules []bpfmaps.IndexedRule) error {
	var indexes []uint32
	for _, r := range rules {
		indexes = append(indexes, r.Index)
		if r.Index == 0 {
			return errors.New("fake: no index")
		}
	}
	defer f.call("SetRules %v", indexes)()
	for _, r := range rules {
		f.rules[r.Index] = r.Rule
	}
	return nil
}

func (f *fakeDatapath) ClearRule(index uint32) error {
	defer f.call("ClearRule %d", index)()
	delete(f.rules, index)
	return nil
}

func (f *fakeDatapath) ClearRules(indexes []uint32) error {
	defer f.call("ClearRules %v", indexes)()
	for _, index := range indexes {
		delete(f.rules, index)
	}
	return nil
}

func (f *fakeDatapath) SetAlias(index uint32, a bpfmaps.Alias) error {
	defer f.call("SetAlias %d %v", index, a.Members)()
	if index == 0 || a.Rule == 0 {
		return errors.New("fake: no index")
	}
	f.aliases[index] = a
	return nil
}

func (f *fakeDatapath) ClearAlias(index uint32, addrs ...netip.Addr) error {
	defer f.call("ClearAlias %d", index)()
	if a := f.aliases[index]; slices.Contains(addrs, a.Addr) && (!a.Addr6.IsValid() || slices.Contains(addrs, a.Addr6)) {
		delete(f.aliases, index)
	}
	return nil
}

func (f *fakeDatapath) AliasSelections(index uint32) (uint64, error) { return uint64(index), nil }

func (f *fakeDatapath) AllRuleCounters(last uint32) ([]bpfmaps.RuleCounters, error) {
	defer f.call("AllRuleCounters %d", last)()
	counters := make([]bpfmaps.RuleCounters, last+1)
	for i := range counters {
		counters[i].Packets = uint64(i)
	}
	return counters, nil
}

func (f *fakeDatapath) SetHostAddrs(addrs []bpfmaps.HostAddr) error {
	defer f.call("SetHostAddrs")()
	f.addrs = addrs
	return nil
}

func (f *fakeDatapath) SetUplinks(uplinks []Uplink) error {
	defer f.call("SetUplinks")()
	f.uplinks = uplinks
	return nil
}

func (f *fakeDatapath) AttachContainer(device string, ifindex int) error {
	if err := f.attach("container "+device, ifindex); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.attached, "filter "+device)
	return nil
}

func (f *fakeDatapath) FilterContainer(device string, ifindex int) error {
	return f.attach("filter "+device, ifindex)
}

func (f *fakeDatapath) ContainerFiltered(ifindex int) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for what, at := range f.attached {
		if at == ifindex && strings.HasPrefix(what, "filter ") {
			return true, nil
		}
	}
	return false, nil
}

func (f *fakeDatapath) DetachContainer(device string) error {
	f.mu.Lock()
	delete(f.attached, "filter "+device)
	f.mu.Unlock()
	return f.detach("container " + device)
}

func (f *fakeDatapath) AttachBridge(device string, ifindex int) error {
	return f.attach("bridge "+device, ifindex)
}

func (f *fakeDatapath) DetachBridge(device string) error { return f.detach("bridge " + device) }

func (f *fakeDatapath) attach(what string, ifindex int) error {
	defer f.call("attach %s", what)()
	if f.refuses {
		return errInjected
	}
	if ifindex == 0 {
		return errors.New("fake: no ifindex")
	}
	f.attached[what] = ifindex
	return nil
}

// refuse makes attaching fail, or work again.
func (f *fakeDatapath) refuse(refuses bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuses = refuses
}

func (f *fakeDatapath) detach(what string) error {
	defer f.call("detach %s", what)()
	delete(f.attached, what)
	return nil
}

func (f *fakeDatapath) Sweep(use bpfmaps.InUse) error {
	defer f.call("Sweep")()
	maps.DeleteFunc(f.networks, func(i uint16, _ bpfmaps.Network) bool { return !use.Networks[uint32(i)] })
	maps.DeleteFunc(f.endpoints, func(i uint32, _ bpfmaps.Endpoint) bool { return !use.Endpoints[i] })
	maps.DeleteFunc(f.rules, func(i uint32, _ bpfmaps.Rule) bool { return !use.Rules[i] })
	maps.DeleteFunc(f.aliases, func(_ uint32, a bpfmaps.Alias) bool { return !use.Aliases[a.Addr] })
	return nil
}

func (f *fakeDatapath) SweepPrograms(owned func(device string) bool) error {
	defer f.call("SweepPrograms")()
	maps.DeleteFunc(f.attached, func(what string, _ int) bool { return !owned(what[strings.Index(what, " ")+1:]) })
	return nil
}
