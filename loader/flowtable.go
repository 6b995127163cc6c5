package loader

import (
	"github.com/cilium/ebpf"

	"github.com/sluice-net/sluice/internal/datapath"
)

// FlowTable returns the program by which package maps changes the tenured conntrack
// tables. It stays the loader's: Close closes it.
func (l *Loader) FlowTable() *ebpf.Program { return l.flowTable }

// LoadFlowTable loads that program for maps which no loader has: those of a test, or
// pinned ones. byName has every map of the layout. Whoever asks closes it.
func LoadFlowTable(config Config, byName map[string]*ebpf.Map) (*ebpf.Program, error) {
	l := &Loader{config: config, maps: byName}
	err := l.loadFlowTable()
	return l.flowTable, err
}

func (l *Loader) loadFlowTable() (err error) {
	l.flowTable, err = l.loadOne("flow-table", datapath.LoadTable)
	return err
}
