package doctor

import (
	"fmt"
	"strings"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/loader"
)

// Hooked is a device at which a program of ours should be.
type Hooked struct {
	Hook, Device string
	loader.Attachment
}

// Programs says where ours are not attached, and who else is there.
func Programs(all []Hooked) []api.Finding {
	f := of("programs")
	for _, h := range all {
		where := fmt.Sprintf("%s, hook %s", h.Device, h.Hook)
		if !h.Attached {
			f.problem(repaired, "%s: ours is not attached, and packets go where the host's stack sends them", where)
		}
		if len(h.Before) > 0 {
			f.note("see that they leave to us what is ours", "%s: others see packets before us, and may keep them: %s", where, strings.Join(h.Before, ", "))
		}
		if h.Attached && len(h.Behind) > 0 {
			f.note("", "%s: others are behind us, and do not see what we deliver: %s", where, strings.Join(h.Behind, ", "))
		}
	}
	return f.orOK("ours are at all %d devices, alone", len(all))
}
