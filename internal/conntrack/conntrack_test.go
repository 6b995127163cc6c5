package conntrack_test

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-net/sluice/internal/api"
	"github.com/sluice-net/sluice/internal/conntrack"
	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

func TestStates(t *testing.T) {
	t.Parallel()
	const answered, confirmed = datapath.FlowReplied, datapath.FlowReplied | datapath.FlowConfirmed
	for want, f := range map[string]maps.Flow{
		"SYN_SENT":    {Protocol: unix.IPPROTO_TCP},
		"SYN_RECV":    {Protocol: unix.IPPROTO_TCP, State: answered},
		"ESTABLISHED": {Protocol: unix.IPPROTO_TCP, State: confirmed},
		"FIN_WAIT":    {Protocol: unix.IPPROTO_TCP, State: confirmed | datapath.FlowFINReply},
		"TIME_WAIT":   {Protocol: unix.IPPROTO_TCP, State: confirmed | datapath.FlowFINReply | datapath.FlowFINForward},
		"CLOSE":       {Protocol: unix.IPPROTO_TCP, State: confirmed | datapath.FlowFINForward | datapath.FlowReset},
		"UNREPLIED":   {Protocol: unix.IPPROTO_UDP},
		"REPLIED":     {Protocol: unix.IPPROTO_ICMP, State: answered},
		"ASSURED":     {Protocol: unix.IPPROTO_UDP, State: confirmed},
	} {
		if got := conntrack.State(f); got != want {
			t.Errorf("%+v is %s, want %s", f, got, want)
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddrPort
	tcp := maps.Flow{
		Protocol: unix.IPPROTO_TCP, State: datapath.FlowReplied,
		Source: addr("172.17.0.2:40000"), Destination: addr("198.51.100.7:443"),
		TranslatedSource: addr("192.0.2.1:61000"), TranslatedDestination: addr("198.51.100.7:443"),
	}
	echo := maps.Flow{
		Protocol: unix.IPPROTO_ICMPV6,
		Source:   addr("[fd00::2]:443"), Destination: addr("[fd00::ff]:0"),
		TranslatedSource: addr("[fd00::2]:11"), TranslatedDestination: addr("[fd00::3]:0"),
	}
	const neither, first, second, both = "", "tcp", "echo", "tcp echo"
	for _, test := range []struct {
		filter api.FlowFilter
		picks  string
	}{
		{api.FlowFilter{}, both},
		{api.FlowFilter{Source: "172.17.0.2"}, first},
		{api.FlowFilter{Source: "172.17.0.0/16"}, first},
		{api.FlowFilter{Source: "192.0.2.1/24"}, first},
		{api.FlowFilter{Source: "198.51.100.7"}, neither},
		{api.FlowFilter{Destination: "198.51.100.7"}, first},
		{api.FlowFilter{Destination: "fd00::3"}, second},
		{api.FlowFilter{Destination: "fd00::/64"}, second},
		{api.FlowFilter{Source: "0.0.0.0/0"}, first},
		{api.FlowFilter{Port: "443"}, first},
		{api.FlowFilter{Port: "61000"}, first},
		{api.FlowFilter{Port: "11"}, neither},
		{api.FlowFilter{Protocol: "TCP"}, first},
		{api.FlowFilter{Protocol: "icmp6"}, second},
		{api.FlowFilter{Protocol: "udp"}, neither},
		{api.FlowFilter{State: "syn_recv"}, first},
		{api.FlowFilter{State: "UNREPLIED"}, second},
		{api.FlowFilter{Family: "ipv4"}, first},
		{api.FlowFilter{Family: "ipv6"}, second},
		{api.FlowFilter{Family: "ipv6", Protocol: "tcp"}, neither},
	} {
		filter, err := conntrack.Parse(test.filter)
		if err != nil {
			t.Fatalf("%+v: %v", test.filter, err)
		}
		var got []string
		for name, f := range map[string]maps.Flow{"tcp": tcp, "echo": echo} {
			if filter.Matches(f) {
				got = append(got, name)
			}
		}
		if len(got) != len(strings.Fields(test.picks)) || len(got) == 1 && got[0] != test.picks {
			t.Errorf("%+v picks %v, want %s", test.filter, got, test.picks)
		}
	}
}

func TestBadFilters(t *testing.T) {
	t.Parallel()
	for says, f := range map[string]api.FlowFilter{
		`invalid src "here"`:       {Source: "here"},
		`invalid dst "1.2.3.4/99"`: {Destination: "1.2.3.4/99"},
		`invalid port "0"`:         {Port: "0"},
		`invalid port "http"`:      {Port: "http"},
		`invalid protocol "gre"`:   {Protocol: "gre"},
		`invalid state "open"`:     {State: "open"},
		`invalid family "4"`:       {Family: "4"},
	} {
		if _, err := conntrack.Parse(f); err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%+v: %v, want %s", f, err, says)
		}
	}
}
