package pebble

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/ttl"
)

// holdCompactions lets no compaction begin until admit is called.
func holdCompactions(e *Engine) (admit func()) {
	const all = 100 // more than may run at once
	busy := func(n int) {
		e.compactions.mu.Lock()
		defer e.compactions.mu.Unlock()
		e.compactions.running += n
	}
	busy(all)
	return func() { busy(-all) }
}

// Ensure that the end of the store is no bad moment for a compaction that was asked for and
// had to wait: it is given up, and Pebble is not told to begin it.
func TestEngine_Close_CompactionWaits(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{Clock: ttl.NewManual(1)})
	c := e.compactions
	admit := holdCompactions(e)
	put(t, e, "key", "value", ttl.Never)
	if err := e.db.Flush(); err != nil {
		t.Fatal(err)
	}
	levels, err := e.db.SSTables()
	if err != nil || len(levels[0]) == 0 {
		t.Fatalf("SSTables: %v, %v", levels, err)
	}
	merged := make(chan error, 1)
	e.background.Go(func() { merged <- e.merge(levels[0][0].Smallest.UserKey) })
	eventually(t, "a compaction waits", func() bool {
		waits, _ := c.db.GetWaitingCompaction()
		return waits
	})
	stop := c.stop
	c.stop = sync.OnceFunc(func() {
		stop()
		if err := <-merged; !errors.Is(err, context.Canceled) {
			t.Errorf("merge: %v", err)
		}
		admit()
		c.grant() // as at the next look
	})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
