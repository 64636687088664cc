package pebble

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// Ensure that a start makes again whatever stood in the log: records that were created, written
// anew, touched and ended in every order, while databases were flushed and swapped, more of them
// than are gathered at once, and of which the tables have a part already.
func TestRecovery(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 0))
			fs := vfs.NewCrashableMem()
			e := openTest(t, fs, Options{LogBytes: 32 << 20})
			want := [2]map[string]storage.Record{{}, {}}
			for i := range 8_000 {
				repeatStep(t, e, rng, &want)
				if i == 3_000 {
					spill(t, e) // the tables get ahead of what they say they have followed
				}
			}
			syncTo(t, e, storage.Everything)
			killed := fs.CrashClone(vfs.CrashCloneCfg{})
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			e = openTest(t, killed, Options{})
			if n := e.Log().Recovered; n < 2_000 {
				t.Errorf("%d changes were made again", n)
			}
			for db := range want {
				wantRecords(t, e, db, want[db])
			}
			closeTest(t, e)
		})
	}
}

// repeatStep makes a random change, of e and of what is wanted of it.
func repeatStep(t *testing.T, e *Engine, rng *rand.Rand, want *[2]map[string]storage.Record) {
	t.Helper()
	db, name := rng.IntN(2), fmt.Sprint("session ", rng.IntN(2_000))
	k := storage.Key{DB: db, Name: []byte(name)}
	rec, found := want[db][name]
	deadline := ttl.Instant(1_000_000 + rng.Int64N(1_000_000))
	switch n := rng.IntN(2_000); {
	case n == 0:
		clear(want[db])
		update(t, e, func(tx storage.Txn) error { return tx.Flush(db) })
	case n == 1:
		want[0], want[1] = want[1], want[0]
		update(t, e, func(tx storage.Txn) error { return tx.Swap(0, 1) })
	case n < 900 && found:
		rec.Deadline = deadline
		want[db][name] = rec
		update(t, e, func(tx storage.Txn) error { return tx.SetDeadline(k, deadline) }, k)
	case n < 1_200:
		delete(want[db], name)
		update(t, e, func(tx storage.Txn) error { return tx.Delete(k) }, k)
	default:
		rec = storage.Record{Kind: storage.KindString, Value: fmt.Appendf(nil, "%0*d", 1+rng.IntN(1_000), n), Deadline: deadline}
		want[db][name] = rec
		update(t, e, func(tx storage.Txn) error { return tx.Put(k, rec) }, k)
	}
}

func wantRecords(t *testing.T, e *Engine, db int, want map[string]storage.Record) {
	t.Helper()
	left := maps.Clone(want)
	_, err := e.View(context.Background(), storage.Whole, func(r storage.Reader) error {
		if n, err := r.Len(db); err != nil || n.Records != int64(len(want)) || n.Expiring != n.Records {
			t.Errorf("database %d has the size %+v, %v, want %d", db, n, err, len(want))
		}
		_, err := r.Scan(db, 0, 1e9, func(k storage.Key, _ storage.Record) bool {
			got, found, err := r.Get(k)
			x, wanted := left[string(k.Name)]
			if err != nil || !found || !wanted || string(got.Value) != string(x.Value) || got.Deadline != x.Deadline {
				t.Errorf("database %d, %q: %d bytes until %d, %v, want %d until %d (%v)",
					db, k.Name, len(got.Value), got.Deadline, err, len(x.Value), x.Deadline, wanted)
			}
			delete(left, string(k.Name))
			return true
		})
		return err
	})
	if err != nil || len(left) > 0 {
		t.Errorf("database %d: %v, and %d records are lost", db, err, len(left))
	}
}
