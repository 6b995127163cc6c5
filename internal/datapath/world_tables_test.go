package datapath_test

import ()

// halves are those of all flows, of both families and both tiers.
func (w *world) halves() conntrack {
	w.t.Helper()
	all := conntrack{}
	for _, table := range conntrackTables {
		for key, half := range w.tier(table) {
			if _, both := all[key]; both {
				w.t.Errorf("%+v is in both tables", key)
			}
			half.Tenured = table == "flows"
			all[key] = half
		}
	}
	return all
}
