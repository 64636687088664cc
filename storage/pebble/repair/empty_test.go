package repair

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble"
)

// Ensure that a store without sessions is repaired to one that opens: of such a one the log knows
// nothing, and its format is in the tree alone.
func TestRepair_Empty(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	closeStore(t, openStore(t, fs, storeDir), fs, storeDir)
	report, err := Repair(context.Background(), storeDir, repairedDir, RepairOptions{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.GivenUp) > 0 || len(report.Databases) > 0 {
		t.Errorf("of an empty store %v was given up, and %v saved", report.GivenUp, report.Databases)
	}
	e, err := pebble.Open(repairedDir, pebble.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, e, fs, repairedDir)
}
