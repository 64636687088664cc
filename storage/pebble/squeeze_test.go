package pebble

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/ttl"
)

// Ensure that the space of what was deleted is given back even where most merges do not fit,
// those among them that Pebble would begin again and again.
func TestSqueeze_NarrowRoom(t *testing.T) {
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
	for i := range records / 2 {
		if err := tryDelete(t, e, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.db.Flush(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Pebble has merged what it wants to, and removed what it merged", func() bool {
		m, total := e.db.Metrics(), e.db.Metrics().Total()
		return m.Compact.NumInProgress == 0 && fs.tables() == total.TablesSize
	})
	leaveRoom(e, fs, e.room.floor()+512<<10)
	defer keepMoving(clock)()
	eventually(t, "space is given back", func() bool {
		tables := e.db.Metrics().Total()
		return tables.TablesSize < records/2*9<<10
	})
}
