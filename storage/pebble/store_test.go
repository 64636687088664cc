package pebble

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
	"github.com/sessiond/sessiond/ttl"
)

const testDir = "store"

// openTest opens the store on fs, with small memtables. Whoever calls it closes the engine.
func openTest(t testing.TB, fs vfs.FS, opts Options) *Engine {
	t.Helper()
	opts.FS = fs
	opts.CacheBytes = 1 << 20
	opts.MemTableSize = cmp.Or(opts.MemTableSize, 256<<10)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if opts.OnFailure == nil {
		opts.OnFailure = func(err error) { t.Error(err) }
	}
	e, err := Open(testDir, opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return e
}

func closeTest(t testing.TB, e *Engine) {
	t.Helper()
	checkStore(t, e)
	if err := e.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// openAndClose opens and closes the store in a folder of the disk.
func openAndClose(dir string) error {
	e, err := Open(dir, Options{CacheBytes: 1 << 20, MaxDisk: diskspace.MinQuota})
	if err != nil {
		return err
	}
	return e.Close()
}

func keyOf(name string) storage.Key { return storage.Key{Name: []byte(name)} }

// update runs fn over keys, or over everything if none are given.
func update(t testing.TB, e *Engine, fn func(storage.Txn) error, keys ...storage.Key) storage.Barrier {
	t.Helper()
	b, err := e.Update(context.Background(), storage.Scope{Keys: keys, All: len(keys) == 0}, fn)
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	return b
}

func put(t testing.TB, e *Engine, name, value string, deadline ttl.Instant) storage.Barrier {
	t.Helper()
	k := keyOf(name)
	return update(t, e, func(tx storage.Txn) error {
		return tx.Put(k, storage.Record{Kind: storage.KindString, Value: []byte(value), Deadline: deadline})
	}, k)
}

func setDeadline(t testing.TB, e *Engine, name string, deadline ttl.Instant) storage.Barrier {
	t.Helper()
	k := keyOf(name)
	return update(t, e, func(tx storage.Txn) error { return tx.SetDeadline(k, deadline) }, k)
}

// get returns the record under a name with a value of its own.
func get(t testing.TB, e *Engine, name string) (rec storage.Record, found bool) {
	t.Helper()
	k := keyOf(name)
	_, err := e.View(context.Background(), storage.Scope{Keys: []storage.Key{k}}, func(r storage.Reader) (err error) {
		rec, found, err = r.Get(k)
		rec.Value = append([]byte(nil), rec.Value...)
		return err
	})
	if err != nil {
		t.Fatalf("View %q: %v", name, err)
	}
	return rec, found
}

func syncTo(t testing.TB, e *Engine, b storage.Barrier) {
	t.Helper()
	if err := e.Sync(context.Background(), b); err != nil {
		t.Fatalf("Sync(%+v): %v", b, err)
	}
}

// sweepAll sweeps until nothing is due and returns how many entries that took.
func sweepAll(t testing.TB, e *Engine, now ttl.Instant, budget int) (total int) {
	t.Helper()
	for {
		n, next, err := e.Sweep(context.Background(), now, budget)
		if err != nil {
			t.Fatalf("Sweep: %v", err)
		}
		if total += n; n < budget && !next.Due(now) {
			return total
		}
		if n == 0 {
			t.Fatalf("a sweep at %d finds nothing, and says that an entry is due at %d", now, next)
		}
	}
}

// bring brings everything to the files of the tree.
func bring(t testing.TB, e *Engine) {
	t.Helper()
	if err := tryBring(t, e); err != nil {
		t.Fatal(err)
	}
}

// tryBring is bring where the disk may be full.
func tryBring(t testing.TB, e *Engine) (err error) {
	t.Helper()
	if clock, manual := e.clock.(*ttl.Manual); manual && int64(e.db.Metrics().MemTable.Size) > e.guard.MemTable() {
		defer keepMoving(clock)() // or Pebble waits for ever before it tries again
	}
	eventually(t, "everything is in the tree", func() bool {
		if err = e.checkpoint(context.Background()); e.guard.Refuses(diskspace.ClassInsert) && err == nil {
			err = storage.ErrFull
		}
		m := e.memory.Load()
		return m.Frozen() == nil && m.Now().Bytes() == 0 && e.followed() == e.log.End() || err != nil && !errors.Is(err, errUnflushed)
	})
	return err
}

// spill brings to the files of the tree what the memory has, as a checkpoint leaves it that was cut
// short.
func spill(t testing.TB, e *Engine) {
	t.Helper()
	w := e.treeWriter(context.Background(), false)
	if err := errors.Join(w.Finish(w.Write(e.memory.Load().Now())), e.db.Flush()); err != nil {
		t.Fatal(err)
	}
}

// checkStore brings everything to the tree, reads it key by key and holds it to what format.go and
// index say. It returns the number of stale index entries.
func checkStore(t testing.TB, e *Engine) (stale int) {
	t.Helper()
	switch err := tryBring(t, e); {
	case errors.Is(err, storage.ErrFull):
		return 0 // the tree lacks what the memory has
	case err != nil:
		t.Fatal(err)
	}
	keys := map[string][]byte{}
	it, err := e.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		keys[string(it.Key())] = append([]byte(nil), it.Value()...)
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		t.Fatal(err)
	}
	counts := map[uint16]storage.Count{}
	for key, value := range keys {
		switch key[0] {
		case layout.PrefixHeader:
			x, err := layout.DecodeHeader(value)
			if err != nil {
				t.Errorf("%q: %v", key, err)
			}
			p, name, _ := layout.SplitRecordKey([]byte(key), layout.PrefixHeader)
			counts[p.PhysicalDB()] = tree.Sum(counts[p.PhysicalDB()], layout.CountOf(true, x))
			if v, ok := keys[string(layout.PrefixValue)+key[1:]]; !ok || len(v) != int(x.Size) {
				t.Errorf("%q has a value of %d bytes, want %d", name, len(v), x.Size)
			}
			if _, ok := keys[string(layout.AppendIndexKey(nil, x.Indexed, p, name))]; x.Deadline != ttl.Never && !ok {
				t.Errorf("%q has no index entry at %d", name, x.Indexed)
			}
			if x.Indexed > x.Deadline {
				t.Errorf("%q is filed at %d, after its deadline %d", name, x.Indexed, x.Deadline)
			}
			if x.Deadline != ttl.Never && x.Indexed < e.index.lowest() {
				t.Errorf("%q is filed at %d, below the saved fence %d", name, x.Indexed, e.index.lowest())
			}
			if x.Revision > e.revisions.Load() {
				t.Errorf("%q has revision %d, the newest is %d", name, x.Revision, e.revisions.Load())
			}
		case layout.PrefixValue:
			if _, ok := keys[string(layout.PrefixHeader)+key[1:]]; !ok {
				t.Errorf("value without an entry at %q", key)
			}
		case layout.PrefixIndex:
			due, p, name, ok := layout.SplitIndexKey([]byte(key))
			if !ok {
				t.Errorf("index key %q", key)
			}
			x, err := layout.DecodeHeader(keys[string(layout.AppendRecordKey(nil, layout.PrefixHeader, p, name))])
			if err != nil || x.Indexed != due {
				stale++
			}
		}
	}
	checkCache(t, e)
	for space := range uint16(64) {
		if got, want := e.counters.get(space), counts[space]; got != want {
			t.Errorf("space %d counts %+v, want %+v", space, got, want)
		}
	}
	return stale
}

// checkCache holds the cache to the tree, which has everything: what the one has is what the other has.
func checkCache(t testing.TB, e *Engine) {
	t.Helper()
	reader := reader{e: e}
	e.cache.Each(func(p layout.HashSlot, name []byte, x layout.Header, value []byte, whole bool) {
		stored, found, err := reader.treeEntry(p, name)
		if err != nil || !found || stored != x {
			t.Errorf("the cache has %q as %+v, the store as %+v, %v, %v", name, x, stored, found, err)
		}
		if !whole || err != nil {
			return
		}
		b, closer, err := e.db.Get(layout.AppendRecordKey(nil, layout.PrefixValue, p, name))
		if err != nil || !bytes.Equal(b, value) {
			t.Errorf("the cache has %d bytes for %q, the store %d, %v", len(value), name, len(b), err)
		}
		if err == nil {
			_ = closer.Close()
		}
	})
}

// Ensure that a reopened store has everything: records, deadlines, sizes, swapped
// databases, and revisions that go on growing.
func TestOpen_Again(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	e := openTest(t, fs, Options{})
	put(t, e, "kept", "value", 5000)
	put(t, e, "empty", "", ttl.Never)
	put(t, e, "gone", "value", 10)
	setDeadline(t, e, "kept", 9000)
	sweepAll(t, e, 20, 512)
	update(t, e, func(tx storage.Txn) error { return tx.Swap(0, 3) })
	update(t, e, func(tx storage.Txn) error { return tx.Swap(0, 7) })
	before, _ := get(t, e, "kept")
	closeTest(t, e)

	e = openTest(t, fs, Options{})
	defer closeTest(t, e)
	if _, found := get(t, e, "kept"); found {
		t.Error("the record is still in database 0")
	}
	update(t, e, func(tx storage.Txn) error { return tx.Swap(3, 0) })
	after, found := get(t, e, "kept")
	if !found || string(after.Value) != "value" || after.Deadline != 9000 {
		t.Errorf("kept = %+v, %v", after, found)
	}
	if rec, found := get(t, e, "empty"); !found || len(rec.Value) != 0 || rec.Size != 0 {
		t.Errorf("empty = %+v, %v", rec, found)
	}
	if _, found := get(t, e, "gone"); found {
		t.Error("a swept record is back")
	}
	setDeadline(t, e, "kept", 9001)
	if rec, _ := get(t, e, "kept"); rec.Revision <= before.Revision {
		t.Errorf("revision %d after %d", rec.Revision, before.Revision)
	}
	_, err := e.View(context.Background(), storage.Scope{}, func(r storage.Reader) error {
		count, err := r.Len(0)
		if want := (storage.Count{Records: 2, Expiring: 1}); count != want {
			t.Errorf("Len = %+v, want %+v", count, want)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Ensure that a store keeps its salt and another store has another.
func TestOpen_Seed(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	e := openTest(t, fs, Options{})
	first := e.seed
	closeTest(t, e)
	e = openTest(t, fs, Options{})
	if e.seed != first {
		t.Error("the seed changed")
	}
	closeTest(t, e)
	e = openTest(t, vfs.NewMem(), Options{})
	if e.seed == first {
		t.Error("two stores share a seed")
	}
	closeTest(t, e)
}

// Ensure that Pebble's format stays below the one in which log records vouch for syncs.
func TestOptions_PebbleFormat(t *testing.T) {
	t.Parallel()
	if pebblefile.Format >= pebbledb.FormatWALSyncChunks {
		t.Error("walFS does not sync each time it is asked to; see pebbleFormat")
	}
}

// Ensure that every method reports a closed store.
func TestEngine_Closed(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	closeTest(t, e)
	ctx := context.Background()
	_, view := e.View(ctx, storage.Whole, func(storage.Reader) error { return nil })
	_, update := e.Update(ctx, storage.Whole, func(storage.Txn) error { return nil })
	_, _, sweep := e.Sweep(ctx, 1, 1)
	for what, err := range map[string]error{
		"View": view, "Update": update, "Sweep": sweep,
		"Sync": e.Sync(ctx, 0), "Close": e.Close(),
	} {
		if !errors.Is(err, storage.ErrClosed) {
			t.Errorf("%s: %v, want %v", what, err, storage.ErrClosed)
		}
	}
}

// Ensure that a panic in a caller's function leaves no stripe locked.
func TestEngine_Update_Panic(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	defer closeTest(t, e)
	func() {
		defer func() { _ = recover() }()
		update(t, e, func(tx storage.Txn) error {
			_ = tx.Put(keyOf("a"), storage.Record{Kind: storage.KindString})
			panic("caller")
		})
	}()
	if _, found := get(t, e, "a"); found {
		t.Error("a change of a function that panicked was applied")
	}
	put(t, e, "a", "1", ttl.Never)
}

// Ensure that what the format cannot hold is refused with an error.
func TestEngine_BadInput(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{})
	defer closeTest(t, e)
	ctx := context.Background()
	for _, k := range []storage.Key{{DB: -1}, {DB: layout.MaxPhysicalDB + 1}} {
		_, err := e.Update(ctx, storage.Scope{Keys: []storage.Key{k}}, func(tx storage.Txn) error {
			return tx.Put(k, storage.Record{Kind: storage.KindString})
		})
		if err == nil {
			t.Errorf("database %d was accepted", k.DB)
		}
	}
	k := keyOf("a")
	_, err := e.Update(ctx, storage.Scope{Keys: []storage.Key{k}}, func(tx storage.Txn) error {
		return tx.Put(k, storage.Record{Kind: storage.KindString, Deadline: -1})
	})
	if err == nil {
		t.Error("a deadline before the epoch was accepted")
	}
}
