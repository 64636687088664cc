package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
	"github.com/sessiond/sessiond/ttl"
)

// Ensure that Scan returns all names of one position together, and that one that stops
// among them goes on there.
func TestReader_Scan_SharedPosition(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	b := e.db.NewBatch()
	var errs []error
	for _, at := range []struct {
		hash uint64
		name string
	}{{5, "a"}, {7, "b"}, {7, "c"}, {7, "d"}, {layout.HashMask, "e"}} {
		errs = append(errs, tree.SetHeader(b, layout.SlotOf(0, at.hash), []byte(at.name), layout.Header{Kind: 1, Revision: 1}))
	}
	if err := errors.Join(append(errs, e.db.Apply(b, pebbledb.NoSync), b.Close())...); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		cursor uint64
		limit  int
		stop   string // Scan's function returns false here
		want   string
		next   uint64
	}{
		{0, 1, "", "a", 6},
		{0, 2, "", "abcd", 8},
		{0, 0, "", "a", 6},
		{6, 1, "", "bcd", 8},
		{6, 9, "c", "bc", 7},
		{7, 9, "d", "bcd", layout.HashMask},
		{8, 1, "", "e", 0},
		{0, 9, "", "abcde", 0},
		{0, 9, "e", "abcde", 0},
		{storage.MaxCursor, 9, "", "", 0},
		{1<<64 - 1, 9, "", "", 0},
	}
	for _, tt := range tests {
		var got string
		var next uint64
		_, err := e.View(context.Background(), storage.Scope{}, func(r storage.Reader) (err error) {
			next, err = r.Scan(0, tt.cursor, tt.limit, func(k storage.Key, _ storage.Record) bool {
				got += string(k.Name)
				return string(k.Name) != tt.stop
			})
			return err
		})
		if err != nil || got != tt.want || next != tt.next {
			t.Errorf("Scan(%d, %d) until %q = %q, %d, %v, want %q, %d",
				tt.cursor, tt.limit, tt.stop, got, next, err, tt.want, tt.next)
		}
	}
}

// Ensure that scopes and transactions of many keys find each of them, and no other.
func TestTxn_ManyKeys(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	defer closeTest(t, e)
	var keys []storage.Key
	for i := range 3 * (fewRefs + fewCells) {
		keys = append(keys, storage.Key{DB: i % 3, Name: fmt.Append(nil, "key", i/3)})
	}
	keys = append(keys, keys...) // repeats are allowed
	update(t, e, func(tx storage.Txn) error {
		for i, k := range keys {
			if err := tx.Put(k, storage.Record{Kind: storage.KindString, Value: fmt.Append(nil, i), Deadline: ttl.Instant(i + 1)}); err != nil {
				return err
			}
		}
		_, _, err := tx.Get(keyOf("other"))
		if !errors.Is(err, storage.ErrScope) {
			t.Errorf("Get of a key outside the scope: %v", err)
		}
		return nil
	}, slices.Clone(keys)...)
	_, err := e.View(context.Background(), storage.Scope{Keys: keys}, func(r storage.Reader) error {
		for i, k := range keys {
			rec, found, err := r.Get(k)
			want := fmt.Sprint(len(keys)/2 + i%(len(keys)/2))
			if err != nil || !found || string(rec.Value) != want {
				t.Errorf("Get %d/%s = %q, %v, %v, want %q", k.DB, k.Name, rec.Value, found, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Ensure that a value moved to another name in one transaction arrives whole.
func TestTxn_Rename(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	defer closeTest(t, e)
	put(t, e, "from", "value", 100)
	from, to := keyOf("from"), keyOf("to")
	update(t, e, func(tx storage.Txn) error {
		r, _, err := tx.Get(from)
		return errors.Join(err, tx.Put(to, r), tx.Delete(from))
	}, from, to)
	if r, found := get(t, e, "to"); !found || string(r.Value) != "value" || r.Deadline != 100 {
		t.Errorf("to = %+v, %v", r, found)
	}
	if _, found := get(t, e, "from"); found {
		t.Error("from is still there")
	}
}

// Ensure that keys are found without a search by those that ask in the order in which they were
// announced, as commands do, and found all the same in any other order.
func TestReader_Find_AnyOrder(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	var scope storage.Scope
	for i := range 1000 {
		scope.Keys = append(scope.Keys, storage.Key{Name: fmt.Appendf(nil, "key%d", i%900)})
	}
	_, err := e.View(context.Background(), scope, func(sr storage.Reader) error {
		r := sr.(*reader)
		for range 2 { // MSETNX looks at all keys before it sets them
			findAll(t, r, scope.Keys)
		}
		announced := func(x ref, k storage.Key) bool { return bytes.Equal(x.key.Name, k.Name) }
		if !slices.EqualFunc(r.refs, scope.Keys, announced) || r.byHash != nil {
			t.Error("keys that were asked for in order were sorted, to be searched for")
		}
		backward := slices.Clone(scope.Keys)
		slices.Reverse(backward)
		findAll(t, r, backward)
		for _, k := range []storage.Key{{Name: []byte("key900")}, {DB: 1, Name: []byte("key0")}} {
			if _, err := r.find(k); !errors.Is(err, storage.ErrScope) {
				t.Errorf("find(%q of database %d) = %v, want ErrScope", k.Name, k.DB, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// findAll asks for each key twice, as a command does that looks first.
func findAll(t *testing.T, r *reader, keys []storage.Key) {
	t.Helper()
	for i := range 2 * len(keys) {
		if _, err := r.find(keys[i/2]); err != nil {
			t.Fatalf("find(%q) = %v", keys[i/2].Name, err)
		}
	}
}
