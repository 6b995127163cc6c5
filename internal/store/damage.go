package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// ErrDamaged is returned by Open for a file that is not a whole database, and is
// in the errors about records that cannot be read.
var ErrDamaged = errors.New("the database is damaged: put a copy of it back, or move it away and start anew without what it held")

// openWhole opens the database and reads all of it once: bbolt meets damage
// with a panic, and with a fault where the file was cut off, and a daemon must
// not find that out in the middle of a verb.
func openWhole(path string) (db *bolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if found := recover(); found != nil {
			// A db that could not be opened cannot be closed either: its lock
			// goes with the process.
			db, err = nil, fmt.Errorf("%w (%v)", ErrDamaged, found)
		}
	}()
	db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout})
	if err != nil && !errors.Is(err, berrors.ErrTimeout) && !fromSystem(err) {
		return nil, fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	if err := db.View(func(tx *bolt.Tx) error { return readAll(tx, path) }); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// fromSystem reports whether the kernel refused something. What else bbolt says
// is about what is in the file, and not all of it can be told by a sentinel.
func fromSystem(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}

func readAll(tx *bolt.Tx, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return fmt.Errorf("%w (%d bytes of %d)", ErrDamaged, info.Size(), tx.Size())
	}
	return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
		return b.ForEach(func(key, value []byte) error { return nil })
	})
}

// Decode reads a record. What is none is damage.
func Decode(raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	return nil
}
