package sessiond

import (
	"context"

	"github.com/sessiond/sessiond/internal/paths"
	"github.com/sessiond/sessiond/storage/pebble"
)

// What Check and Repair take and return.
type (
	// CheckOptions changes how Check reads. The zero value is ready to use.
	CheckOptions = pebble.CheckOptions
	// CheckReport is what Check found.
	CheckReport = pebble.CheckReport
	// Problem is one thing that is wrong with a folder. It names no session.
	Problem = pebble.Problem
	// DatabaseSessions is how many sessions a database has.
	DatabaseSessions = pebble.DatabaseSessions
)

// Check reads the whole folder dir, of a Store that is not open or of a backup, which it does
// not change, and says what is damaged. Damage is no error: an error says that it could not look.
func Check(ctx context.Context, dir string, options CheckOptions) (CheckReport, error) {
	if err := paths.Absolute(&dir); err != nil {
		return CheckReport{}, err
	}
	return pebble.Check(ctx, dir, options)
}
