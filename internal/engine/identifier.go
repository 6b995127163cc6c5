package engine

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"

	"github.com/sluice-net/sluice/internal/apierr"
)

// networkName is Docker's rule for names.
var networkName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// validateName refuses a network's name that is malformed.
func validateName(name string) error {
	if name == "" {
		return apierr.BadParameter("a network needs a name")
	}
	if name == "default" {
		return apierr.Conflict("default stands for %s, and no network can have this name", NetworkBridge)
	}
	if !networkName.MatchString(name) {
		return apierr.BadParameter("invalid network name %q: use letters, digits, '_', '.' and '-', and begin with a letter or a digit", name)
	}
	return nil
}

// newID returns 64 random hex digits.
func newID() string { return randomHex(64) }

func randomHex(digits int) string {
	raw := make([]byte, (digits+1)/2)
	rand.Read(raw) // never fails
	return hex.EncodeToString(raw)[:digits]
}

// shortID is an ID as listings show it.
func shortID(id string) string { return id[:12] }
