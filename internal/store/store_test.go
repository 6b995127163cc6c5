package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

type record struct{ Name string }

func open(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestRecordsOutliveClose(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path)
	if err := db.Put("things", "b", record{"two"}); err != nil {
		t.Fatal(err)
	}
	if err := db.Put("things", "a", record{"one"}); err != nil {
		t.Fatal(err)
	}
	db.Close()

	db = open(t, path)
	var got record
	if err := db.Get("things", "a", &got); err != nil || got.Name != "one" {
		t.Fatalf("Get = %v, %v", got, err)
	}
	var keys []string
	if err := db.Each("things", func(key string, _ []byte) error {
		keys = append(keys, key)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(keys) != 2 || keys[0] != "a" || keys[1] != "b" {
		t.Fatalf("Each visited %v", keys)
	}
	if err := db.Delete("things", "a"); err != nil {
		t.Fatal(err)
	}
	if err := db.Get("things", "a", &got); !errors.Is(err, ErrNotFound) {
		t.Fatalf("Get of a deleted record: %v", err)
	}
}

func TestAbsentBucketIsEmpty(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "db"))
	if err := db.Get("none", "a", new(record)); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
	if err := db.Delete("none", "a"); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if err := db.Each("none", func(string, []byte) error { return errors.New("visited") }); err != nil {
		t.Errorf("Each: %v", err)
	}
}

func TestFailedUpdateLeavesNothing(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "db"))
	boom := errors.New("boom")
	err := db.Update(func(tx *Tx) error {
		if err := tx.Put("things", "a", record{"one"}); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if err := db.Get("things", "a", new(record)); !errors.Is(err, ErrNotFound) {
		t.Fatalf("the record stayed: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path)
	if _, err := Open(path); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open: %v", err)
	}
	if err := db.Put(metaBucket, schemaKey, schemaVersion+1); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := Open(path); !errors.Is(err, ErrNewerSchema) {
		t.Errorf("Open of a newer schema: %v", err)
	}
}

func TestMarkBoot(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "db"))
	id, err := BootID()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		id   string
		same bool
	}{{id, false}, {id, true}, {"another", false}, {"another", true}} {
		if same, err := db.IsBoot(want.id); err != nil || same != want.same {
			t.Errorf("call %d: same %v, %v", i, same, err)
		}
		if err := db.MarkBoot(want.id); err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// TestDamagedFile covers what a disk or an editor may leave: one error, no panic.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	whole := filepath.Join(t.TempDir(), "db")
	db := open(t, whole)
	for i := range 1000 {
		if err := db.Put("things", fmt.Sprint(i), record{strings.Repeat("x", 100)}); err != nil {
			t.Fatal(err)
		}
	}
	db.Close()
	raw, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	noise := slices.Clone(raw)
	for i := 2 * page; i < len(noise); i++ {
		noise[i] = 0xa5
	}
	for name, damaged := range map[string][]byte{
		"text":               []byte(strings.Repeat("not a database\n", 1000)),
		"short":              []byte("bolt"),
		"cut off":            raw[:len(raw)/2],
		"cut after the meta": raw[:2*page],
		"pages overwritten":  noise,
		"everything is zero": make([]byte, len(raw)),
	} {
		path := filepath.Join(t.TempDir(), "db")
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A kill while it is made leaves an empty file.
	empty := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, empty)
}
