package datapath_test

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/sluice-net/sluice/internal/datapath"
	"github.com/sluice-net/sluice/internal/reasons"
	"github.com/sluice-net/sluice/loader"
)

// arp is an ARP packet of the endpoint e that asks for the gateway.
func arp(e endpoint) []byte {
	raw := append(append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, e.mac...), 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1)
	raw = append(append(raw, e.mac...), e.addr.AsSlice()...)
	return append(append(raw, 0, 0, 0, 0, 0, 0), gatewayOne.AsSlice()...)
}

func TestContainerARP(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv4, loader.Config{})
	context := skb{Ifindex: uint32(f.b.ifindex)}
	for name, change := range map[string]func(raw []byte) []byte{
		"request":   func(raw []byte) []byte { return raw },
		"reply":     func(raw []byte) []byte { raw[21] = 2; return raw },
		"probe":     func(raw []byte) []byte { copy(raw[28:], make([]byte, 4)); return raw },
		"announced": func(raw []byte) []byte { copy(raw[38:], raw[28:32]); return raw },
		"padded":    func(raw []byte) []byte { return append(raw, make([]byte, 18)...) },
	} {
		if verdict, _ := f.runAnswered(datapath.HookContainer, context, change(arp(f.b))); verdict != next {
			t.Errorf("%s: verdict %d, want it passed", name, int32(verdict))
		}
	}
	for _, test := range []struct {
		name   string
		change func(raw []byte) []byte
		want   reasons.Reason
	}{
		{"truncated", func(raw []byte) []byte { return raw[:41] }, reasons.Malformed},
		{"not Ethernet", func(raw []byte) []byte { raw[15] = 6; return raw }, reasons.Malformed},
		{"not IPv4", func(raw []byte) []byte { raw[16] = 0x86; return raw }, reasons.Malformed},
		{"hardware length", func(raw []byte) []byte { raw[18] = 8; return raw }, reasons.Malformed},
		{"protocol length", func(raw []byte) []byte { raw[19] = 16; return raw }, reasons.Malformed},
		{"another's MAC", func(raw []byte) []byte { raw[27]++; return raw }, reasons.SpoofedArp},
		{"a neighbour's address", func(raw []byte) []byte { raw[31]--; return raw }, reasons.SpoofedArp},
		{"the gateway's address", func(raw []byte) []byte { copy(raw[28:], raw[38:42]); return raw }, reasons.SpoofedArp},
		{"another's frame", func(raw []byte) []byte { raw[11]++; return raw }, reasons.SpoofedMac},
	} {
		f.expectDrop(datapath.HookContainer, context, test.change(arp(f.b)), test.want)
		if t.Failed() {
			t.Fatalf("at %s", test.name)
		}
	}
}

// TestAliasARP covers requests for a VIP, which no device would answer.
func TestAliasARP(t *testing.T) {
	t.Parallel()
	f := newFixture(t, ipv4, loader.Config{})
	f.alias(f.a)
	request := arp(f.b)
	copy(request[38:], vipAddr.AsSlice())
	for name, sender := range map[string]netip.Addr{
		"request": f.b.addr, "probe (RFC 5227)": netip.IPv4Unspecified(),
	} {
		copy(request[28:], sender.AsSlice())
		verdict, out := f.runAnswered(datapath.HookContainer, skb{Ifindex: uint32(f.b.ifindex)}, request)
		want := arpReply(vipMAC, vipAddr, f.b.mac, sender)
		if verdict != redirect || !bytes.Equal(out, want) {
			t.Errorf("%s: verdict %d\ngot  %x\nwant %x", name, int32(verdict), out, want)
		}
	}
	copy(request[38:], f.a.addr.AsSlice())
	copy(request[28:], f.b.addr.AsSlice())
	if verdict, _ := f.runAnswered(datapath.HookContainer, skb{Ifindex: uint32(f.b.ifindex)}, request); verdict != next {
		t.Errorf("for a neighbour: verdict %d", int32(verdict))
	}
}

func arpReply(mac net.HardwareAddr, addr netip.Addr, toMAC net.HardwareAddr, to netip.Addr) []byte {
	out := append(append(bytes.Clone(toMAC), mac...), 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2)
	out = append(append(out, mac...), addr.AsSlice()...)
	return append(append(out, toMAC...), to.AsSlice()...)
}
