package pebble

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
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
	if err := e.checkpoint(context.Background()); err != nil {
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

// Ensure that a clean stop ends though the checkpoint that it makes needs more tables than Pebble lets lie
// above each other, and that it leaves nothing in the log.
func TestEngine_Close_ManyTables(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	e := openTest(t, fs, Options{LogBytes: 16 << 20, MemTableSize: 64 << 10})
	const records = 3000
	for i := range records { // not in the order in which they end: so the tables overlap
		put(t, e, fmt.Sprint(i), strings.Repeat("x", 1000), ttl.Instant(1_000_000+i*7919%records))
	}
	closed := make(chan error, 1)
	go func() { closed <- e.Close() }()
	eventually(t, "the store is closed", func() bool { return len(closed) > 0 })
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	e = openTest(t, fs, Options{})
	defer closeTest(t, e)
	if n := e.Log().Recovered; n > 0 {
		t.Errorf("a start after Close finds %d changes in the log", n)
	}
	if n := len(survey(t, e)); n != records {
		t.Errorf("%d records, want %d", n, records)
	}
}

// Ensure that a checkpoint waits for tables that are being written or merged, though a compaction met
// damage once: it would begin anew each time, and never come to its end.
func TestCheckpoint_AfterDamage(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{LogBytes: 16 << 20, MemTableSize: 64 << 10})
	defer closeTest(t, e)
	e.compactions.ended(fmt.Errorf("as a compaction that met damage: %w", layout.ErrDamaged))
	for i := range 3000 {
		put(t, e, fmt.Sprint(i), strings.Repeat("x", 1000), ttl.Never)
	}
	bring(t, e)
}
