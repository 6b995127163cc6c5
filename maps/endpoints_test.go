package maps_test

import (
	"bytes"
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/maps"
)

func someEndpoint() maps.Endpoint {
	return maps.Endpoint{
		Network: 3, Addr: ip("172.17.0.2"), MAC: mac("02:42:ac:11:00:02"), Ifindex: 17,
	}
}

func TestEndpointIsStoredAsPacketsHaveIt(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	e := someEndpoint()
	e.Ready, e.Translated = true, true
	must(t, k.SetEndpoint(5, e))
	want := datapath.Endpoint{
		Ifindex: 17, Addr4: wire("172.17.0.2"), Mac: [6]uint8{2, 0x42, 0xac, 0x11, 0, 2}, Network: 3,
		Flags: datapath.EndpointReady | datapath.EndpointTranslated,
	}
	equal(t, "endpoint", get[datapath.Endpoint](k, "endpoints", uint32(5)), want)
	equal(t, "index by device", get[uint32](k, "devices", uint32(17)), 5)
	equal(t, "index by address", get[uint32](k, "endpoints4", [4]byte{172, 17, 0, 2}), 5)

	raw, err := k.byName["endpoints"].LookupBytes(uint32(5))
	must(t, err)
	if addr := raw[8:12]; !bytes.Equal(addr, []byte{172, 17, 0, 2}) {
		t.Errorf("address in memory: %v", addr)
	}
}

func TestEndpointFlags(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	for _, test := range []struct {
		ready, translated, final bool
		want                     uint8
	}{
		{false, false, false, 0},
		{true, false, false, datapath.EndpointReady},
		{false, true, false, datapath.EndpointTranslated},
		{false, false, true, datapath.EndpointFinal},
		{true, true, false, datapath.EndpointReady | datapath.EndpointTranslated},
	} {
		e := someEndpoint()
		e.Ready, e.Translated, e.Final = test.ready, test.translated, test.final
		must(t, k.SetEndpoint(5, e))
		equal(t, "flags", get[datapath.Endpoint](k, "endpoints", uint32(5)).Flags, test.want)
	}
}

// Flows live on while an endpoint is written again, and end when it goes.
func TestEndpointGeneration(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	generation := func() uint32 { return get[datapath.Endpoint](k, "endpoints", uint32(5)).Generation }
	must(t, k.SetEndpoint(5, someEndpoint()))
	first := generation()
	other := someEndpoint()
	other.Ready = true
	must(t, k.SetEndpoint(5, other))
	equal(t, "after it is written again", generation(), first)
	must(t, k.ClearEndpoint(5))
	equal(t, "after it is cleared", generation(), first+1)
	must(t, k.SetEndpoint(5, someEndpoint()))
	equal(t, "of the next one", generation(), first+1)
}

func TestEndpointMoves(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetEndpoint(5, someEndpoint()))
	moved := someEndpoint()
	moved.Addr, moved.Ifindex = ip("172.17.0.9"), 19
	must(t, k.SetEndpoint(5, moved))
	equal(t, "devices", k.entries("devices"), 1)
	equal(t, "addresses", k.entries("endpoints4"), 1)
	equal(t, "index by device", get[uint32](k, "devices", uint32(19)), 5)
	equal(t, "index by address", get[uint32](k, "endpoints4", wire("172.17.0.9")), 5)
}

func TestClearEndpoint(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetEndpoint(5, someEndpoint()))
	for range 2 { // clearing what is not there succeeds
		must(t, k.ClearEndpoint(5))
		equal(t, "devices", k.entries("devices"), 0)
		equal(t, "addresses", k.entries("endpoints4"), 0)
		left := get[datapath.Endpoint](k, "endpoints", uint32(5))
		left.Generation = 0
		equal(t, "endpoint", left, datapath.Endpoint{})
	}
}

// A late clear must not cut off who got the address and device meanwhile.
func TestClearEndpointSparesItsSuccessor(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	must(t, k.SetEndpoint(5, someEndpoint()))
	must(t, k.SetEndpoint(6, someEndpoint()))
	must(t, k.ClearEndpoint(5))
	equal(t, "index by device", get[uint32](k, "devices", uint32(17)), 6)
	equal(t, "index by address", get[uint32](k, "endpoints4", wire("172.17.0.2")), 6)
}

func TestEndpointOutOfRange(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	beyond := k.byName["endpoints"].MaxEntries()
	if k.SetEndpoint(beyond, someEndpoint()) == nil || k.ClearEndpoint(beyond) == nil {
		t.Error("an index that the map does not have was taken")
	}
	equal(t, "devices", k.entries("devices"), 0)
	equal(t, "addresses", k.entries("endpoints4"), 0)
}

func TestEndpointWithIPv6(t *testing.T) {
	t.Parallel()
	k := newKernel(t)
	e := someEndpoint()
	e.Addr6 = ip("fd00::2")
	must(t, k.SetEndpoint(5, e))
	equal(t, "address", get[datapath.Endpoint](k, "endpoints", uint32(5)).Addr6, wire6("fd00::2"))
	equal(t, "index by address", get[uint32](k, "endpoints6", wire6("fd00::2")), 5)
	e.Addr6 = ip("fd00::3")
	must(t, k.SetEndpoint(5, e))
	equal(t, "addresses once it has moved", k.entries("endpoints6"), 1)
	successor := e
	successor.Addr, successor.Ifindex = ip("172.17.0.9"), 18
	must(t, k.SetEndpoint(6, successor))
	must(t, k.ClearEndpoint(5))
	equal(t, "index by address of the successor", get[uint32](k, "endpoints6", wire6("fd00::3")), 6)
	must(t, k.ClearEndpoint(6))
	equal(t, "addresses in the end", k.entries("endpoints6"), 0)
	must(t, k.SetEndpoint(5, someEndpoint()))
	equal(t, "addresses of one without IPv6", k.entries("endpoints6"), 0)
}
