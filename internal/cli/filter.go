package cli

import (
	"fmt"
	"slices"
	"strings"
)

// filter is what --filter asks for: values by key.
type filter map[string][]string

// parseFilter reads KEY=VALUE flags; the keys are those that a verb knows, two or
// more.
func parseFilter(flags []string, keys ...string) (filter, error) {
	f := filter{}
	for _, flag := range flags {
		key, value, ok := strings.Cut(flag, "=")
		if !ok || !slices.Contains(keys, key) {
			last := len(keys) - 1
			return nil, fmt.Errorf("--filter %q is none of %s= and %s=", flag, strings.Join(keys[:last], "=, "), keys[last])
		}
		f[key] = append(f[key], value)
	}
	return f, nil
}

// keeps reports whether all filters together let something through; values of
// one key are alternatives, as in Docker.
func (f filter) keeps(matches func(key, value string) bool) bool {
	for key, values := range f {
		if !slices.ContainsFunc(values, func(value string) bool { return matches(key, value) }) {
			return false
		}
	}
	return true
}
