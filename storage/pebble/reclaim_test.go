package pebble

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/ttl"
)

// settle waits until Pebble has merged what it wants to, and removed what it merged.
func settle(t *testing.T, e *Engine, fs *smallFS) {
	t.Helper()
	eventually(t, "Pebble has merged what it wants to", func() bool {
		m := e.db.Metrics()
		total := m.Total()
		return m.Compact.NumInProgress == 0 && fs.Tables() == total.TablesSize
	})
}

// Ensure that space of what was deleted is given back even where most merges do not fit,
// those among them that Pebble would begin again and again.
func TestReclaim_LittleSpace(t *testing.T) {
	t.Parallel()
	fs := newSmallFS(t, vfs.NewMem(), smallDisk)
	clock := ttl.NewManual(1)
	e := openTest(t, fs, Options{Clock: clock})
	defer closeTest(t, e)
	rng := rand.New(rand.NewPCG(1, 2))
	const records = 300
	for i := range records {
		put(t, e, fmt.Sprint(i), noiseOf(rng, 8<<10), ttl.Never)
	}
	settle(t, e, fs)
	admit := e.guard.Compactions.Hold() // or Pebble may merge before the room is narrow
	for i := range records / 2 {
		if err := tryDelete(t, e, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := fs.Tables()
	leaveRoom(e, fs, e.guard.CompactionThreshold()+1<<20)
	admit()
	defer keepMoving(clock)()
	eventually(t, "space is given back", func() bool { return fs.Tables() < before-records/2*8<<10/3 })
}
