package cli

import "testing"

func TestShortened(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"sleep 9":                        "sleep 9",
		"12345678901234567890":           "12345678901234567890",
		"busybox httpd -f -p 80 -h /srv": "busybox httpd -f ...",
		"echo ☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃": "echo ☃☃☃☃☃☃☃☃☃☃☃☃...",
		"echo ☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃":  "echo ☃☃☃☃☃☃☃☃☃☃☃☃☃☃☃",
	} {
		if got := shortened(text, 20); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
