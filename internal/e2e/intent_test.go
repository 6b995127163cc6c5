package e2e

import (
	"encoding/json"
	"math/bits"
	"os"
	"path/filepath"

	"github.com/sluice-net/sluice/internal/container"
	"github.com/sluice-net/sluice/internal/engine"
	"github.com/sluice-net/sluice/internal/lab"
	"github.com/sluice-net/sluice/internal/store"
)

// intent is what an instance's store holds.
type intent struct {
	networks   map[string]intended[engine.Network]
	endpoints  map[string]intended[engine.Endpoint]
	aliases    map[string]engine.Alias
	containers map[string]container.Record
	addresses  int // that are taken, reserved ones included
}

// intended is a record that may be half made.
type intended[T any] struct {
	value T
	ready bool
}

func (i *intended[T]) UnmarshalJSON(raw []byte) error {
	var record struct{ Ready bool }
	if err := json.Unmarshal(raw, &record); err != nil {
		return err
	}
	i.ready = record.Ready
	return json.Unmarshal(raw, &i.value)
}

// storePath is an instance's database.
func storePath(l *lab.Lab) string { return filepath.Join(l.Root, "state", "sluice.db") }

// readIntent reads a copy of the store: the daemon has the original.
func readIntent(l *lab.Lab) (intent, error) {
	in := intent{
		networks:   map[string]intended[engine.Network]{},
		endpoints:  map[string]intended[engine.Endpoint]{},
		aliases:    map[string]engine.Alias{},
		containers: map[string]container.Record{},
	}
	raw, err := os.ReadFile(storePath(l))
	if err != nil {
		return in, err
	}
	path := filepath.Join(l.TempDir(), "copy.db")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		return in, err
	}
	db, err := store.Open(path)
	if err != nil {
		return in, err
	}
	defer db.Close()
	for _, read := range []error{
		readBucket(db, "networks", in.networks),
		readBucket(db, "endpoints", in.endpoints),
		readBucket(db, "aliases", in.aliases),
		readBucket(db, "containers", in.containers),
	} {
		if read != nil {
			return in, read
		}
	}
	return in, db.Each("ipam", func(_ string, raw []byte) error {
		for _, b := range raw {
			in.addresses += bits.OnesCount8(b)
		}
		return nil
	})
}

func readBucket[T any](db *store.DB, bucket string, into map[string]T) error {
	return db.Each(bucket, func(key string, raw []byte) error {
		var value T
		if err := json.Unmarshal(raw, &value); err != nil {
			return err
		}
		into[key] = value
		return nil
	})
}

// editStore changes the records of an instance whose daemon is away.
func editStore(l *lab.Lab, edit func(tx *store.Tx) error) {
	l.Helper()
	db, err := store.Open(storePath(l))
	if err != nil {
		l.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(edit); err != nil {
		l.Fatal(err)
	}
}
