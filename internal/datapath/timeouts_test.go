package datapath

import (
	"maps"
	"strings"
	"testing"
)

func TestParseTimeouts(t *testing.T) {
	got, err := ParseTimeouts([]string{"tcp-established=2h", "udp-new=30s", "fragment=1s", "udp-new=45s"})
	want := Timeouts{"timeout_tcp_established": 7200, "timeout_udp_new": 45, "timeout_fragment": 1}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for wish, part := range map[string]string{
		"tcp=1h":              "tcp-established",
		"udp-new":             "whole seconds",
		"udp-new=0s":          "whole seconds",
		"udp-new=1500ms":      "whole seconds",
		"udp-new=90":          "90s",
		"icmp=-1s":            "whole seconds",
		"tcp-closing=100000h": "up to 8760h",
		"":                    "NAME=DURATION",
	} {
		if _, err := ParseTimeouts([]string{wish}); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want an error that says %q", wish, err, part)
		}
	}
}
