package pebble

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

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
	e.guard.Compactions.Ended(fmt.Errorf("as a compaction that met damage: %w", layout.ErrDamaged))
	for i := range 3000 {
		put(t, e, fmt.Sprint(i), strings.Repeat("x", 1000), ttl.Never)
	}
	bring(t, e)
}
