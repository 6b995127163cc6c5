package container

import (
	"slices"
	"strings"
)

// mergeEnv adds variables to an environment; a later one of a name replaces
// the earlier.
func mergeEnv(env, more []string) []string {
	merged := slices.Clone(env)
	for _, variable := range more {
		name, _, ok := strings.Cut(variable, "=")
		merged = slices.DeleteFunc(merged, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		if ok {
			merged = append(merged, variable)
		}
	}
	return merged
}
