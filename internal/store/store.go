// Package store keeps the daemon's records in one bbolt database: JSON values
// under string keys in named buckets, and raw bytes for packages that have a
// layout of their own. A transaction costs two flushes to disk, so a verb
// should need no more than one before and one after its work.
package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// ErrNotFound is returned by Get for a key that is not there.
var ErrNotFound = errors.New("no such record")

// ErrInUse is returned by Open while another process has the database open.
var ErrInUse = errors.New("the database is in use by another process")

// lockTimeout is how long Open waits for a process that is just closing.
const lockTimeout = time.Second

// DB is an open database. Its methods may be called from any goroutine.
type DB struct {
	bolt *bolt.DB
}

// Open opens or creates the database at path and checks that this version of
// the program understands its schema.
func Open(path string) (*DB, error) {
	b, err := openWhole(path)
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("open %s: %w", path, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db := &DB{bolt: b}
	if err := db.checkSchema(); err != nil {
		b.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return db, nil
}

// Close closes the database.
func (db *DB) Close() error { return db.bolt.Close() }

// Update runs fn in one transaction that is committed when fn returns nil and
// leaves no trace otherwise.
func (db *DB) Update(fn func(*Tx) error) error {
	return db.bolt.Update(func(tx *bolt.Tx) error { return fn(&Tx{tx}) })
}

// View runs fn in a read-only transaction.
func (db *DB) View(fn func(*Tx) error) error {
	return db.bolt.View(func(tx *bolt.Tx) error { return fn(&Tx{tx}) })
}

// Put stores v as JSON under key.
func (db *DB) Put(bucket, key string, v any) error {
	return db.Update(func(tx *Tx) error { return tx.Put(bucket, key, v) })
}

// Get reads the record at key into v, or returns ErrNotFound.
func (db *DB) Get(bucket, key string, v any) error {
	return db.View(func(tx *Tx) error { return tx.Get(bucket, key, v) })
}

// Delete removes the record at key, if there is one.
func (db *DB) Delete(bucket, key string) error {
	return db.Update(func(tx *Tx) error { return tx.Delete(bucket, key) })
}

// Each calls fn for every record of bucket in the order of the keys, until fn
// returns an error. raw is valid during the call only.
func (db *DB) Each(bucket string, fn func(key string, raw []byte) error) error {
	return db.View(func(tx *Tx) error { return tx.Each(bucket, fn) })
}

// Tx is a transaction.
type Tx struct {
	bolt *bolt.Tx
}

// Put stores v as JSON under key.
func (tx *Tx) Put(bucket, key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("record %s/%s: %w", bucket, key, err)
	}
	return tx.PutRaw(bucket, key, raw)
}

// Get reads the record at key into v, or returns ErrNotFound.
func (tx *Tx) Get(bucket, key string, v any) error {
	raw := tx.GetRaw(bucket, key)
	if raw == nil {
		return fmt.Errorf("record %s/%s: %w", bucket, key, ErrNotFound)
	}
	if err := Decode(raw, v); err != nil {
		return fmt.Errorf("record %s/%s: %w", bucket, key, err)
	}
	return nil
}

// PutRaw stores value under key as it is.
func (tx *Tx) PutRaw(bucket, key string, value []byte) error {
	b, err := tx.bolt.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return fmt.Errorf("bucket %s: %w", bucket, err)
	}
	return b.Put([]byte(key), value)
}

// GetRaw returns the bytes at key, nil when there are none. They must not be
// changed, and are valid during the transaction only.
func (tx *Tx) GetRaw(bucket, key string) []byte {
	b := tx.bolt.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.Get([]byte(key))
}

// Delete removes the record at key, if there is one.
func (tx *Tx) Delete(bucket, key string) error {
	b := tx.bolt.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.Delete([]byte(key))
}

// Each calls fn for every record of bucket in the order of the keys, until fn
// returns an error. raw is valid during the transaction only, and fn must not
// change the bucket.
func (tx *Tx) Each(bucket string, fn func(key string, raw []byte) error) error {
	b := tx.bolt.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, v []byte) error { return fn(string(k), v) })
}
