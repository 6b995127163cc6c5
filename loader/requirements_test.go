package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

func TestCheckRelease(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		release string
		want    string // part of the error; "" for none
	}{
		{"6.1.0", ""},
		{"6.1.0-13-amd64", ""},
		{"6.1-rc1", ""},
		{"6.10.3", ""},
		{"6.18.44-custom+", ""},
		{"7.0.0", ""},
		{"10.0", ""},
		{"6.0.19", "this is Linux 6.0.19, and the oldest that works is 6.1"},
		{"5.15.0-101-generic", "this is Linux 5.15.0-101-generic, and the oldest that works is 6.1"},
		{"4.19.0", "this is Linux 4.19.0"},
		{"3.10.0-1160.el7.x86_64", "this is Linux 3.10.0-1160.el7.x86_64"},
	} {
		err := checkRelease(test.release)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.release, err)
		case test.want != "" && (!errors.Is(err, ErrKernel) || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: got %v, want ErrKernel and %q", test.release, err, test.want)
		}
	}
}

// A release that is no number says nothing about the kernel's age.
func TestCheckReleaseThatIsNone(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"", "six", "6", "v6.1"} {
		if err := checkRelease(release); err == nil || errors.Is(err, ErrKernel) {
			t.Errorf("%q: %v", release, err)
		}
	}
}

func TestThisKernelLacksNothing(t *testing.T) {
	t.Parallel()
	must(t, checkKernel())
	if lacks := missing(); len(lacks) > 0 {
		t.Errorf("missing: %q", lacks)
	}
}

// refused is what the kernel says of a program that reads what it has not set.
func refused(t *testing.T) error {
	t.Helper()
	instructions := asm.Instructions{}
	for range 10 {
		instructions = append(instructions, asm.Mov.Imm(asm.R1, 1))
	}
	instructions = append(instructions, asm.Mov.Reg(asm.R0, asm.R6), asm.Return())
	spec := &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{
		"broken": {Name: "broken", Type: ebpf.SchedCLS, Instructions: instructions, License: "GPL"},
	}}
	_, err := new(Loader).loadObject(spec)
	if err == nil {
		t.Fatal("the broken program was loaded")
	}
	return err
}

func TestVerifierLogIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	err := explainLoad("uplink", refused(t), dir)
	path := filepath.Join(dir, "verifier-uplink.log")
	for _, part := range []string{"uplink", path, "R6 !read_ok"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if lines := strings.Count(err.Error(), "\n"); lines != verifierTail {
		t.Errorf("the error shows %d lines of the log, want %d: %q", lines, verifierTail, err)
	}
	log, readErr := os.ReadFile(path)
	must(t, readErr)
	for _, part := range []string{"R6 !read_ok", "r1 = 1", "processed"} {
		if !strings.Contains(string(log), part) {
			t.Errorf("the log does not say %q:\n%s", part, log)
		}
	}
	if lines := strings.Count(string(log), "\n"); lines <= verifierTail {
		t.Errorf("the log has %d lines only:\n%s", lines, log)
	}
}

func TestVerifierLogShorterThanTheTail(t *testing.T) {
	t.Parallel()
	err := explainLoad("uplink", &ebpf.VerifierError{Cause: unix.EACCES, Log: []string{"only line"}}, t.TempDir())
	if !strings.HasSuffix(err.Error(), ":\n  only line") {
		t.Errorf("%q", err)
	}
}

func TestVerifierLogThatCannotBeKept(t *testing.T) {
	t.Parallel()
	err := explainLoad("uplink", refused(t), filepath.Join(t.TempDir(), "no", "such"))
	for _, part := range []string{"not kept", "no such file or directory", "R6 !read_ok"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func TestExplainLoadOfOtherErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		dir  string
		want string
	}{
		{fmt.Errorf("map: %w", unix.EPERM), t.TempDir(), "CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN are needed (run as root)"},
		{unix.ENOMEM, t.TempDir(), "load the socket programs: cannot allocate memory"},
		{refused(t), "", "R6 !read_ok"}, // without a directory nothing is written
	} {
		err := explainLoad("socket", test.err, test.dir)
		if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "load the socket programs") {
			t.Errorf("got %q, want %q", err, test.want)
		}
	}
}
