package store

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// ErrNewerSchema is returned by Open for a database that a later version of
// the program has written.
var ErrNewerSchema = errors.New("the database was written by a newer version of sluice: use that version")

// schemaVersion rises when records change in a way that older versions of the
// program would misread.
const schemaVersion = 1

const (
	metaBucket = "meta"
	schemaKey  = "schema"
	bootKey    = "boot_id"
)

func (db *DB) checkSchema() error {
	var version int
	err := db.Get(metaBucket, schemaKey, &version)
	switch {
	case errors.Is(err, ErrNotFound):
		return db.Put(metaBucket, schemaKey, schemaVersion)
	case err != nil:
		return err
	case version > schemaVersion:
		return fmt.Errorf("%w (schema %d, known up to %d)", ErrNewerSchema, version, schemaVersion)
	}
	return nil
}

// IsBoot reports whether the boot id is the one that was recorded last. If it is
// not, nothing volatile of the records exists any more. A new database has none.
func (db *DB) IsBoot(id string) (bool, error) {
	var last string
	if err := db.Get(metaBucket, bootKey, &last); err != nil && !errors.Is(err, ErrNotFound) {
		return false, err
	}
	return last == id, nil
}

// MarkBoot records the boot id, once what an earlier boot left has been dealt
// with.
func (db *DB) MarkBoot(id string) error {
	same, err := db.IsBoot(id)
	if same || err != nil {
		return err
	}
	return db.Put(metaBucket, bootKey, id)
}

// BootID returns the running kernel's boot id.
func BootID() (string, error) {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}
