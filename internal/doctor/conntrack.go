package doctor

import (
	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/loader"
)

// Flows are those of a family that have proved themselves, and how many there
// can be.
type Flows struct {
	Family     string
	Live, Room int
}

// Conntrack says whether flows that have proved themselves are about to push
// each other out, and which tables are not as large as they were asked to be.
func Conntrack(tables []Flows, kept []loader.KeptSize) []api.Finding {
	f := of("conntrack")
	live := 0
	for _, t := range tables {
		live += t.Live
		if t.Live*10 >= t.Room*9 {
			f.problem("start the daemon with a higher --conntrack-max; the table takes it after `sluice system reset` or a reboot",
				"%d established flows of %s, and there is room for %d: further ones push out those that have been silent longest", t.Live, t.Family, t.Room)
		}
	}
	for _, k := range kept {
		f.note("it takes that after `sluice system reset` or a reboot", "%s was made with room for %d flows, and %d were asked for", k.Name, k.Has, k.Asked)
	}
	return f.orOK("%d established flows, and room for %d of each family", live, tables[0].Room)
}
