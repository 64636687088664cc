package pebble

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Ensure that a store without sessions is repaired to one that opens: of such a one the log knows
// nothing, and its format is in the tree alone.
func TestRepair_Empty(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	closeTest(t, openTest(t, fs, Options{}))
	report, err := Repair(context.Background(), testDir, repairedDir, RepairOptions{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.GivenUp) > 0 || len(report.Databases) > 0 {
		t.Errorf("of an empty store %v was given up, and %v saved", report.GivenUp, report.Databases)
	}
	e, err := Open(repairedDir, Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	closeTest(t, e)
}
