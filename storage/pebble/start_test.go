package pebble

import (
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/ttl"
)

// Ensure that the creation of a store goes on wherever it was broken off.
func TestOpen_BrokenCreation(t *testing.T) {
	t.Parallel()
	mem, fs, hook := newHooked()
	steps := 0
	crashes(mem, hook, func() { closeTest(t, openTest(t, fs, Options{LogBytes: minLogBytes})) }, func(step int, left *vfs.MemFS) {
		steps++
		for range 2 {
			e, err := Open(testDir, Options{FS: left, LogBytes: minLogBytes, CacheBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			put(t, e, "name", "value", ttl.Never)
			closeTest(t, e)
		}
		if report, err := Tools.Check(t.Context(), testDir, left); err != nil || report.Damage > 0 {
			t.Fatalf("step %d: %v, %v", step, report.Problems, err)
		}
	})
	if steps < 20 {
		t.Errorf("%d steps", steps)
	}
}
