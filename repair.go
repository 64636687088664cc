package sessiond

import (
	"context"

	"github.com/sessiond/sessiond/internal/paths"
	"github.com/sessiond/sessiond/storage/pebble"
)

// What Repair takes and returns, beside a Problem.
type (
	// RepairOptions changes how Repair works. The zero value is ready to use.
	RepairOptions = pebble.RepairOptions
	// RepairReport says what Repair saved and what it gave up.
	RepairReport = pebble.RepairReport
	// RepairedDatabase is how much of a database was saved.
	RepairedDatabase = pebble.RepairedDatabase
)

// ErrManifest is returned by Repair if nobody knows any more which files of the folder are
// in use: see pebble.ErrManifest.
var ErrManifest = pebble.ErrManifest

// Repair saves what can be read of the folder dir, which it does not change and which no
// Store may have open, into a new one, which must be absent or empty. It gives up rather
// than bring back a session that was ended: see pebble.Repair.
func Repair(ctx context.Context, dir, to string, options RepairOptions) (RepairReport, error) {
	if err := paths.Absolute(&dir, &to); err != nil {
		return RepairReport{}, err
	}
	return pebble.Repair(ctx, dir, to, options)
}
