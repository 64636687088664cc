package diskspace

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/ttl"
)

// Ensure that the end of the store is no bad moment for a compaction that was asked for and
// had to wait: it is given up, and Pebble is not told to begin it.
func TestScheduler_End_CompactionWaits(t *testing.T) {
	t.Parallel()
	c := newScheduler(ttl.NewManual(1))
	options := &pebbledb.Options{FS: vfs.NewMem(), Logger: quiet{}}
	options.Experimental.CompactionScheduler = c
	db, err := pebbledb.Open(testDir, options)
	if err != nil {
		t.Fatal(err)
	}
	c.Allow()
	admit := c.Hold()
	key := []byte("key")
	if err := errors.Join(db.Set(key, []byte("value"), nil), db.Flush()); err != nil {
		t.Fatal(err)
	}
	levels, err := db.SSTables()
	if err != nil || len(levels[0]) == 0 {
		t.Fatalf("SSTables: %v, %v", levels, err)
	}
	merged := make(chan error, 1)
	go func() { merged <- db.Compact(c.Context(), key, append(key, 0), false) }()
	for waits := false; !waits; waits, _ = c.db.GetWaitingCompaction() {
		runtime.Gosched()
	}
	stop := c.stop
	c.stop = sync.OnceFunc(func() {
		stop()
		if err := <-merged; !errors.Is(err, context.Canceled) {
			t.Errorf("Compact: %v", err)
		}
		admit()
		c.Grant() // as at the next look
	})
	c.End()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// quiet is a logger of Pebble that says nothing.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, _ ...any) {
	panic(format)
}
