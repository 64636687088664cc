package repair

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
)

// storeDir is the folder of the stores that are damaged.
const storeDir = "store"

// openStore opens the store in a folder.
func openStore(t testing.TB, fs vfs.FS, dir string) *pebble.Engine {
	t.Helper()
	e, err := pebble.Open(dir, pebble.Options{FS: fs, Logger: slog.New(slog.DiscardHandler), OnFailure: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return e
}

// closeStore closes the store in a folder and makes sure that nothing is wrong with it.
func closeStore(t testing.TB, e *pebble.Engine, fs vfs.FS, dir string) {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if report, err := Check(t.Context(), dir, CheckOptions{FS: fs}); err != nil || report.Damage > 0 {
		t.Errorf("after Close: %v, %v", report.Problems, err)
	}
}

// changeStore runs fn over keys, or over everything if none are given.
func changeStore(t testing.TB, e *pebble.Engine, fn func(storage.Txn) error, keys ...storage.Key) {
	t.Helper()
	if _, err := e.Update(context.Background(), storage.Scope{Keys: keys, All: len(keys) == 0}, fn); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

// follow has the tree follow the log, as a backup does before it begins.
func follow(t testing.TB, e *pebble.Engine) {
	t.Helper()
	s, err := e.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Stage(context.Background())
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
}

// markFile is the mark of the log of a store in a file system in memory.
type markFile struct{ b []byte }

func (m *markFile) open(_ string, size int) (*wal.Mapping, error) {
	if m.b == nil {
		m.b = make([]byte, size)
	}
	return &wal.Mapping{Bytes: m.b, Close: func() error { return nil }}, nil
}

// openStill opens the store on fs so that nothing is compacted unless asked for, and then into tables
// of about a quarter of a megabyte. The tree is for what an engine does not do.
func openStill(t testing.TB, fs vfs.FS, m *markFile) (e *pebble.Engine, tree *pebbledb.DB) {
	t.Helper()
	e, err := pebble.Open(storeDir, pebble.Options{
		FS: fs, MapFile: m.open, BootID: 1, OnFailure: func(err error) { panic(err) }, MemTableSize: 8 << 20,
		Logger: slog.New(slog.DiscardHandler),
		Tune: func(p *pebbledb.Options) {
			p.DisableAutomaticCompactions = true
			for i := range p.TargetFileSizes {
				p.TargetFileSizes[i] = 256 << 10
			}
		},
		Opened: func(db *pebbledb.DB) { tree = db },
	})
	if err != nil {
		t.Fatal(err)
	}
	return e, tree
}
