package datapath_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// addr and mac make literals short.
func addr(s string) netip.Addr      { return netip.MustParseAddr(s) }
func mac(s string) net.HardwareAddr { return mustMAC(s) }

// literal prints steps as Go, fields that are zero left out.
func literal(steps []step) string {
	lines := []string{"[]step{"}
	for _, s := range steps {
		value := reflect.New(reflect.TypeOf(s)).Elem()
		value.Set(reflect.ValueOf(s))
		lines = append(lines, "\t"+goLiteral(value)+",")
	}
	return strings.Join(append(lines, "}"), "\n")
}

// goLiteral prints a value that has an address, so that the fields of other
// packages' types can be read.
func goLiteral(v reflect.Value) string {
	switch value := reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Interface().(type) {
	case *netip.Addr:
		return fmt.Sprintf("addr(%q)", value)
	case *netip.AddrPort:
		return fmt.Sprintf("netip.MustParseAddrPort(%q)", value)
	case *net.HardwareAddr:
		return fmt.Sprintf("mac(%q)", value)
	case *[]byte:
		if len(*value) > 64 && bytes.Count(*value, (*value)[:1]) == len(*value) {
			return fmt.Sprintf("bytes.Repeat([]byte{%d}, %d)", (*value)[0], len(*value))
		}
		return fmt.Sprintf("[]byte(%q)", *value)
	}
	name := strings.ReplaceAll(v.Type().String(), "datapath_test.", "")
	switch v.Kind() {
	case reflect.Struct:
		var fields []string
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				fields = append(fields, v.Type().Field(i).Name+": "+goLiteral(v.Field(i)))
			}
		}
		return name + "{" + strings.Join(fields, ", ") + "}"
	case reflect.Slice:
		var elements []string
		for i := range v.Len() {
			elements = append(elements, goLiteral(v.Index(i)))
		}
		return name + "{" + strings.Join(elements, ", ") + "}"
	case reflect.Bool:
		return fmt.Sprint(v.Bool())
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	case reflect.Int:
		return fmt.Sprint(v.Int())
	}
	return fmt.Sprint(v.Uint())
}

func TestLiteral(t *testing.T) {
	t.Parallel()
	got := literal([]step{
		sends{from: "a", frame: frame{src: addr("192.0.2.1"), srcMAC: mac("02:00:00:00:00:01"), sport: 80, raw: []byte{0, 1}}, damage: []edit{{3, 1}}},
		setsAlias{1, 2}, uplinks{true},
	})
	want := `[]step{
	sends{from: "a", frame: frame{srcMAC: mac("02:00:00:00:00:01"), src: addr("192.0.2.1"), sport: 80, raw: []byte("\x00\x01")}, damage: []edit{edit{at: 3, xor: 1}}},
	setsAlias{1, 2},
	uplinks{up: true},
}`
	expectEqual(t, "literal", got, want)
}
