package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestDoctorWithoutDaemon covers what the daemon's program finds, and how it is
// shown.
func TestDoctorWithoutDaemon(t *testing.T) {
	t.Parallel()
	const found = `[{"Check":"kernel","Status":"ok","Text":"it is"},{"Check":"jit","Status":"STATUS","Text":"there is none","Advice":"switch it on"}]`
	for _, test := range []struct {
		line, status string
		code         int
		want         string
	}{
		{"doctor", "note", 0, "STATUS CHECK FINDING\nok kernel it is\nnote jit there is none; switch it on\n"},
		{"doctor", "problem", 1, "STATUS CHECK FINDING\nok kernel it is\nproblem jit there is none; switch it on\n"},
		{"doctor --format json", "problem", 1, strings.ReplaceAll(strings.Trim(found, "[]"), "},{", "}\n{") + "\n"},
		{"doctor --format {{.Check}}={{.Advice}}", "note", 0, "kernel=\njit=switch it on\n"},
	} {
		env, stdout, stderr := testEnv(t)
		var asked []string
		env.AskDaemon = func(args ...string) ([]byte, error) {
			asked = args
			return []byte(strings.ReplaceAll(found, "STATUS", test.status)), nil
		}
		code := Main(context.Background(), env, append([]string{"--root", "/r"}, strings.Split(test.line, " ")...))
		want := strings.ReplaceAll(test.want, `"STATUS"`, `"`+test.status+`"`)
		var lines []string
		for line := range strings.Lines(stdout.String()) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		if got := strings.Join(lines, "\n") + "\n"; code != test.code || got != want || stderr.Len() > 0 {
			t.Errorf("%s: exit code %d, said %q\ngot  %q\nwant %q", test.line, code, stderr.String(), got, want)
		}
		if !slices.Equal(asked, []string{"doctor", "--root=/r"}) {
			t.Errorf("asked %q", asked)
		}
	}
}

func TestDoctorCannotAsk(t *testing.T) {
	t.Parallel()
	for _, answer := range []struct {
		raw string
		err error
	}{{"", errors.New("it is missing")}, {"{", nil}} {
		env, stdout, stderr := testEnv(t)
		env.AskDaemon = func(...string) ([]byte, error) { return []byte(answer.raw), answer.err }
		if code := Main(context.Background(), env, []string{"doctor"}); code != 1 || stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("exit code %d, printed %q, said %q", code, stdout.String(), stderr.String())
		}
	}
}
