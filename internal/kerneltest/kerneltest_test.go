package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestNewestPackage(t *testing.T) {
	names := []string{
		"linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64", "linux-image-6.1.0-57-cloud-amd64-unsigned",
		"linux-image-6.12-cloud-amd64", "linux-image-6.12.9+deb12-cloud-amd64", "linux-image-6.12.10+deb12-cloud-amd64",
		"linux-image-6.12.11+deb12-amd64",
	}
	for series, want := range map[string]string{
		"6.1": "linux-image-6.1.0-56-cloud-amd64", "6.12": "linux-image-6.12.10+deb12-cloud-amd64", "6.6": "",
	} {
		if got := newestPackage(series, names); got != want {
			t.Errorf("%s: %q, want %q", series, got, want)
		}
	}
}

func TestModuleOrder(t *testing.T) {
	needs := map[string][]string{"bridge": {"stp", "llc"}, "stp": {"llc"}, "loop": {"pool"}, "pool": {"loop"}}
	dependsOn := func(name string) ([]string, error) {
		if name == "none" {
			return nil, errors.New("no such module")
		}
		return needs[name], nil
	}
	got, err := order([]string{"veth", "bridge", "llc"}, dependsOn)
	if want := []string{"veth", "llc", "stp", "bridge"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"loop", "none"} {
		if got, err := order([]string{bad}, dependsOn); err == nil {
			t.Errorf("%s: %v without an error", bad, got)
		}
	}
}

func TestParseDepends(t *testing.T) {
	info := []byte("license=GPL\x00depends=x-tables,llc\x00name=a\x00")
	if got := parseDepends(info); !slices.Equal(got, []string{"x_tables", "llc"}) {
		t.Errorf("%q", got)
	}
	if got := parseDepends([]byte("depends=\x00")); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestParseLdd(t *testing.T) {
	listing := "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld.so.2 (0x00007f)\n"
	if got := parseLdd(listing); !slices.Equal(got, []string{"/lib/libc.so.6", "/lib64/ld.so.2"}) {
		t.Errorf("%q", got)
	}
}

// TestJudge covers every way in which a run is no success.
func TestJudge(t *testing.T) {
	wanted := []suite{{name: "one"}, {name: "two"}}
	const good = "kerneltest: release 6.1\r\n--- PASS: TestA (0.1s)\nkerneltest: exit 0 one\n" +
		"    a_test.go:1: no such helper\n--- SKIP: TestB (0.1s)\nkerneltest: exit 0 two\nkerneltest: end\n"
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"good":            {good, true},
		"no boot":         {"", false},
		"failed":          {strings.Replace(good, "exit 0 two", "exit 1 two", 1), false},
		"missing suite":   {strings.Replace(good, "kerneltest: exit 0 one\n", "", 1), false},
		"no end":          {strings.Replace(good, "kerneltest: end\n", "", 1), false},
		"said by a test":  {strings.Replace(good, "kerneltest: exit 0 one", "x kerneltest: exit 0 one", 1), false},
		"cut in the line": {strings.TrimSuffix(good, "\n"), false},
	} {
		out := newOutput(&bytes.Buffer{}, false)
		for _, b := range []byte(c.text) { // in the smallest pieces
			if _, err := out.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.judge(wanted); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if c.ok && (out.passed != 1 || out.release != "6.1" || len(out.skipped) != 1 || !strings.Contains(out.skipped[0], "no such helper")) {
			t.Errorf("%s: %+v", name, out)
		}
	}
}

func TestArchive(t *testing.T) {
	var raw bytes.Buffer
	a := newArchive(&raw)
	a.file("/a/b", 0o755, []byte("hello"))
	a.file("/a/b", 0o755, []byte("twice"))
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	if raw.Len()%4 != 0 || strings.Count(raw.String(), "070701") != 3 || strings.Contains(raw.String(), "twice") {
		t.Errorf("%q", raw.String())
	}
	for _, want := range []string{"a\x00", "a/b\x00", "hello\x00\x00\x00", "TRAILER!!!\x00"} {
		if !strings.Contains(raw.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
}
